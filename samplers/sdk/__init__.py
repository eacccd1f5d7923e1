"""The sampler inside a process: whole sessions decided by a policy, without a collector."""

from __future__ import annotations

from samplers.sdk.exporter import SamplingExporter

__all__ = ["SamplingExporter"]
