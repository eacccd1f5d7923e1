"""Instrumentation of running agents: decorators, client hooks, and where the spans go."""
