"""The models: ordered SQL from scanned spans to the ledger."""

from __future__ import annotations

from tracekit.models.pipeline import register, run

__all__ = ["register", "run"]
