"""Recorded sessions of other tools, turned into OTLP."""
