"""The collector process: OTLP in, decisions, OTLP out."""
