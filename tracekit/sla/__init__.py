"""Provider terms as data, what was kept of them, and what failed tasks were lost to."""

from tracekit.sla.waterfall import slis, waterfall

__all__ = ["slis", "waterfall"]
