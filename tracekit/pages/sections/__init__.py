"""The parts of a report: each a function from a connection and a selection to a section."""
