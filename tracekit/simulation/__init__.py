"""Scripted agents that run through the real instrumentation, with the truth about each task."""
