"""Why agent sessions really stop, what they cost, and whether the task succeeded."""
