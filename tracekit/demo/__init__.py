"""Simulated agent sessions, to try tracekit on."""
