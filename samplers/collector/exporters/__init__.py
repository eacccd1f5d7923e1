"""OTLP out: bytes of requests through a queue on disk to targets that are independent."""
