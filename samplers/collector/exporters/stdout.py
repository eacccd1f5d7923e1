"""Requests as OTLP/JSON lines on standard output."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

from google.protobuf.message import DecodeError

from samplers.collector.exporters.delivery import Delivered, Delivery, Postponed, Refused
from samplers.collector.exporters.json_lines import json_line

if TYPE_CHECKING:
    from collections.abc import Callable


class StdoutTarget:
    """Standard output."""

    def __init__(self, output: Callable[[], BinaryIO] = lambda: sys.stdout.buffer) -> None:
        """Describe the output.

        Args:
            output: Returns where lines go.
        """
        self._output = output
        self._lock = threading.Lock()

    def send(self, request: bytes) -> Delivery:
        """Print one request."""
        try:
            line = json_line(request)
        except DecodeError as error:
            return Refused(f"cannot be written as JSON: {error}")
        try:
            with self._lock:
                output = self._output()
                output.write(line)
                output.flush()
        except OSError as error:
            return Postponed(f"standard output: {error.strerror}")
        return Delivered()

    def close(self) -> None:
        """Leave standard output open: it is not ours."""
