"""A small HTTP/1.1 server: threads, sockets and limits, and nothing that knows of OTLP."""
