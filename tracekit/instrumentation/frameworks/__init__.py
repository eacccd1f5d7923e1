"""Agent frameworks: a run becomes an agent's span, with the end the framework gave it.

Each integration takes hold of the framework at the few places every run, tool call, handoff and
guardrail passes. Model calls are none of its business: the hooks of the clients see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Final

from tracekit.instrumentation.clients.imports import forget, when_imported
from tracekit.instrumentation.clients.patches import Patches


@dataclass(slots=True)
class Integration:
    """One framework that can be instrumented.

    Attributes:
        package: What it is imported as: the module whose import makes it usable.
        module: Where its hooks are.
        installed: Whether it is instrumented.
    """

    package: str
    module: str
    installed: bool = False
    _patches: Patches = field(default_factory=Patches)

    def install(self) -> None:
        """Instrument the framework, importing it; a second call does nothing."""
        if not self.installed:
            import_module(self.package)
            import_module(f"{__name__}.{self.module}").install(self._patches)
            self.installed = True

    def install_when_imported(self) -> None:
        """Instrument the framework once the application has imported it."""
        when_imported(self.package, self.install)

    def uninstall(self) -> None:
        """Leave the framework as it was."""
        forget(self.package)
        self._patches.undo()
        self.installed = False


INTEGRATIONS: Final[dict[str, Integration]] = {
    "openai_agents": Integration("agents", "openai_agents"),
    "langgraph": Integration("langgraph.pregel", "langgraph"),
    "pydantic_ai": Integration("pydantic_ai", "pydantic_ai"),
    "claude_agent_sdk": Integration("claude_agent_sdk", "claude_agent_sdk"),
}
"""Integrations by the name `tracekit.instrument` knows them by."""
