"""OTLP bytes: the wire scanner, its reference, and the file readers."""
