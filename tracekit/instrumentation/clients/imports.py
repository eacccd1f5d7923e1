"""Doing something as soon as a module has been imported, without importing it."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any, Final

from tracekit.instrumentation.runtime import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_waiting: Final[dict[str, Callable[[], None]]] = {}
"""Module -> what to do after it was imported."""


class _Noticing(Loader):
    """Loads a module as its own loader does, and says so."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            # Who asks the module later is to find its own loader.
            spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        action = _waiting.pop(module.__name__, None)
        if action is not None:
            _do(action)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _waiting:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Noticing(spec.loader)
        return spec


_finder: Final = _Finder()


def _do(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("imports")


def when_imported(module: str, action: Callable[[], None]) -> None:
    """Do something once a module is there: now, or as soon as somebody imports it."""
    if module in sys.modules:
        _do(action)
        return
    _waiting[module] = action
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget(*modules: str) -> None:
    """Wait no longer for modules."""
    for module in modules:
        _waiting.pop(module, None)
    if not _waiting and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
