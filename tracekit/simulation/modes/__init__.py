"""The failure modes. Every module here is found by itself: see `tracekit.simulation.registry`."""
