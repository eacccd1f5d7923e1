"""Seeing what the clients of model providers are asked and what they answer.

`wrap` hooks one client object, `instrument` all clients of a package. Both leave what the client
does and returns as it is; what is seen becomes one span per logical call.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeVar

from tracekit.errors import UsageError
from tracekit.instrumentation.clients import google, http, stainless
from tracekit.instrumentation.clients.attempt import SITE
from tracekit.instrumentation.runtime import failed

if TYPE_CHECKING:
    from tracekit.instrumentation.frameworks import Integration

C = TypeVar("C")

PACKAGES: Final = {"openai": "openai", "anthropic": "anthropic", "google": "google.genai"}
"""Name for `instrument` -> package."""


def wrap(client: C) -> C:
    """Trace the calls of one client.

        client = tracekit.wrap(openai.OpenAI())

    Sync and async clients of openai, anthropic and google-genai, and copies made with
    `with_options`, are seen; one made with `copy.copy` is another client, to be wrapped itself.
    Wrapping twice is the same as wrapping once.

    Args:
        client: A client object.

    Returns:
        The same object.

    Raises:
        UsageError: It is none of these.
    """
    sdk = stainless.kind(client) or google.kind(client)
    if sdk is None:
        known = ", ".join(PACKAGES.values())
        name = f"{type(client).__module__}.{type(client).__qualname__}"
        raise UsageError(f"cannot wrap a {name}: known are clients of {known}")
    try:
        if sdk == google.SDK:
            google.wrap(client)
        else:
            stainless.wrap(sdk, client)
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)
    return client


def instrument(*names: str) -> None:
    """Trace all clients of some packages, and all runs of some agent frameworks.

    Nothing is imported for it: a package is hooked when somebody imports it.

    Args:
        names: Clients: `openai`, `anthropic`, `google`; frameworks: `openai_agents`, `langgraph`,
            `pydantic_ai`, `claude_agent_sdk`; without any, all of them.

    Raises:
        UsageError: A name is not known, or its package is not installed.
    """
    frameworks = _frameworks()
    packages = PACKAGES | {name: found.package for name, found in frameworks.items()}
    for name in names:
        if name not in packages:
            raise UsageError(f"cannot instrument {name}: known are {', '.join(packages)}")
        if not _is_installed(packages[name]):
            raise UsageError(f"cannot instrument {name}: {packages[name]} is not installed")
    for name in names or packages:
        if name in frameworks:
            frameworks[name].install_when_imported()
        elif name == google.SDK:
            google.instrument()
        else:
            stainless.instrument(name)


def _frameworks() -> dict[str, Integration]:
    from tracekit.instrumentation.frameworks import INTEGRATIONS  # noqa: PLC0415 - made of this

    return INTEGRATIONS


def uninstrument() -> None:
    """Undo `instrument`; clients that were wrapped stay so."""
    for framework in _frameworks().values():
        framework.uninstall()
    stainless.uninstrument()
    google.uninstrument()
    http.unwatch()


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return True
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


__all__ = ["instrument", "uninstrument", "wrap"]
