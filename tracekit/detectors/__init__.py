"""Failure modes of agents found by rule: a verdict per session and detector, with its evidence.

register(con)   words and an empty `baselines`, once per connection
freeze(con)     cohort baselines of the days that are over
run(con)        table detections from spans, tasks, sessions and attempts

The tables are those of `tracekit.models` or the views of a lake: the verdicts are the same. A
detector is an SQL file beside this one, an entry in `thresholds.yaml`, and cases in the tests.
"""

from tracekit.detectors.baselines import freeze, restore, to_lake
from tracekit.detectors.runner import DROPPED, READING, RECORDED, VERDICTS, register, run
from tracekit.detectors.specification import load

__all__ = [
    "DROPPED",
    "READING",
    "RECORDED",
    "VERDICTS",
    "freeze",
    "load",
    "register",
    "restore",
    "run",
    "to_lake",
]
