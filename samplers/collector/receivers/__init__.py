"""OTLP in: bytes of requests from the network to a handler, its outcome back as an answer."""
