"""The models: ordered SQL from scanned spans to the ledger."""

from __future__ import annotations

from tracekit.models.pipeline import REPLACED, register, run, run_ledger, run_spans

__all__ = ["REPLACED", "register", "run", "run_ledger", "run_spans"]
