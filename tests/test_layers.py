"""Who may import whom. A layer knows only the layers below it, so each can be read on its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    ("tracekit.errors", "tracekit.scripts"),
    ("tracekit.schema", "tracekit.documents", "tracekit.otlp.fingerprint", "tracekit.otlp.varints"),
    (
        "tracekit.dialects",
        "tracekit.stats",
        "tracekit.inbox",
        "tracekit.checking",
        "tracekit.predicates",
    ),
    ("tracekit.otlp", "tracekit.stops", "tracekit.costs"),
    ("tracekit.importers", "tracekit.models", "tracekit.instrumentation"),
    ("tracekit.lake", "tracekit.detectors"),
    ("tracekit.reports", "tracekit.testing"),
    ("tracekit.sla",),
    ("tracekit.simulation", "tracekit.slo"),
    ("tracekit.pages",),
    ("tracekit.notebooks",),
    ("tracekit.cli",),
)
"""Lowest first. A module imports from the layers below its own, and from its own package.

Fingerprints and variable-length integers are the parts of otlp that depend on nothing and that
lower layers need.
"""

STARTS_THE_SAMPLER = "tracekit.cli"
"""The one package of tracekit that may import samplers: the command line starts the collector."""

PYTEST_PLUGIN = "tracekit.testing.plugin"
"""What pytest itself loads, so that pytest is there."""

DECISIONS = (
    "tracekit/stats/**/*.py",
    "samplers/decide.py",
    "samplers/pacing.py",
    "samplers/strata.py",
    "samplers/terms.py",
    "samplers/threshold.py",
)
"""Code that decides or estimates: time, identities and randomness reach it as arguments."""

IMPURE = frozenset(
    {"asyncio", "io", "os", "pathlib", "random", "secrets", "shutil", "socket", "subprocess"}
    | {"sys", "tempfile", "threading", "time", "urllib", "uuid", "requests", "grpc"}
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def dotted(path: Path) -> str:
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Return the dotted names a module imports, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the layer"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def belongs(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def rank(name: str) -> int | None:
    """Return the number of a module's layer; the longest name that fits decides."""
    fits = {
        package: position
        for position, layer in enumerate(LAYERS)
        for package in layer
        if belongs(name, package)
    }
    return fits[max(fits, key=len)] if fits else None


def test_every_package_has_its_layer() -> None:
    """Each module stands in one layer; the package itself only hands on the instrumentation."""
    assert [dotted(path) for path in modules("tracekit") if rank(dotted(path)) is None] == [
        "tracekit"
    ]
    own = {name for name in imports(ROOT / "tracekit" / "__init__.py") if belongs(name, "tracekit")}
    assert all(belongs(name, "tracekit.instrumentation") for name in own)


@pytest.mark.parametrize("path", modules("tracekit"), ids=dotted)
def test_module_imports_only_lower_layers(path: Path) -> None:
    """A module imports from lower layers and from its own package, never sideways or upwards."""
    own = ".".join(dotted(path).split(".")[:2])
    mine = rank(dotted(path))
    wrong = [
        name
        for name in imports(path)
        if (other := rank(name)) is not None
        and not belongs(name, own)
        and (mine is None or other >= mine)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", modules("tracekit"), ids=dotted)
def test_toolkit_does_not_know_the_sampler(path: Path) -> None:
    """Nothing in tracekit imports samplers, except the command line, which starts it."""
    if not belongs(dotted(path), STARTS_THE_SAMPLER):
        assert [name for name in imports(path) if belongs(name, "samplers")] == []


@pytest.mark.parametrize(
    "path", sorted({path for glob in DECISIONS for path in ROOT.glob(glob)}), ids=dotted
)
def test_decisions_do_no_input_or_output(path: Path) -> None:
    """Code that decides or estimates imports no clock, no randomness, no file and no network."""
    assert {name.split(".")[0] for name in imports(path)} & IMPURE == set()


@pytest.mark.parametrize("path", modules("tracekit") + modules("samplers"), ids=dotted)
def test_product_does_not_import_development_tools(path: Path) -> None:
    """The product runs on the runtime requirements alone: no test or lint tool is imported."""
    tools = {"hypothesis", "mypy", "pytest", "ruff", "setuptools", "tests", "benchmarks"}
    if dotted(path) == PYTEST_PLUGIN:
        tools -= {"pytest"}
    assert {name.split(".")[0] for name in imports(path)} & tools == set()
