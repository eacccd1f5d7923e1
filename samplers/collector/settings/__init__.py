"""The settings of the collector, section by section."""
