"""Rules about the repository itself: what must not be in it, and what its data files must be."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tracekit", "samplers")

REGISTRY = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.o|npmjs\.(?:org|com)|crates\.io|proxy\.golang|"
    r"maven\.org|deb\.debian|https?://[^\s\"]*/simple\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|(?:home|Users)/(?!someone|user)\w+)/\w")
"""A made-up home, where a test needs one, belongs to `someone` or `user`."""


def project_files(*suffixes: str) -> list[Path]:
    """Return the files under version control or about to be; none outside a git checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    paths = [ROOT / line for line in listing]
    return [
        path
        for path in paths
        if path.is_file() and (path.suffix in suffixes if suffixes else path.suffix != ".gz")
    ]


def package_files(suffix: str) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob(f"*{suffix}"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def matches(pattern: re.Pattern[str]) -> list[str]:
    files = project_files()
    if not files:
        pytest.skip("the files of the project are listed by git, and this is no git checkout")
    return [
        f"{relative(path)}: {match.group()}"
        for path in files
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]


def test_no_package_registry_is_named() -> None:
    """No file names the host or the index address of a package registry."""
    assert matches(REGISTRY) == []


def test_no_path_of_a_developers_machine() -> None:
    """No file names an absolute path that exists only on somebody's machine."""
    assert [hit for hit in matches(MACHINE_PATH) if not hit.startswith("tests/data/")] == []


def test_locks_pin_and_hash_every_requirement() -> None:
    """Each locked requirement is one exact version with at least one hash."""
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-peers.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        entries = re.findall(r"^[a-zA-Z].*(?:\n .*)*", text, flags=re.MULTILINE)
        assert entries
        for entry in entries:
            assert re.match(r"[\w.-]+==[\w.]+ ", entry), entry
            assert "--hash=sha256:" in entry, entry


def test_development_lock_extends_the_runtime_lock() -> None:
    """What is tested is what is run: the development lock repeats every pin of the runtime lock."""
    pin = re.compile(r"^[a-zA-Z][^ ]*==[^ ]*", flags=re.MULTILINE)  # markers may be wider there
    runtime, development = (
        set(pin.findall((ROOT / name).read_text(encoding="utf-8")))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert runtime <= development


class StrictLoader(yaml.CSafeLoader):
    """A YAML loader that refuses a key written twice, which YAML readers let the last one win."""


def unique_mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value if key.value != "<<"]
    repeated = {key for key in keys if keys.count(key) > 1}
    if repeated:
        raise yaml.YAMLError(f"keys written twice{node.start_mark}: {sorted(repeated)}")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique_mapping)


@pytest.mark.parametrize("path", package_files(".yaml"), ids=relative)
def test_yaml_is_readable_and_repeats_no_key(path: Path) -> None:
    """A table of facts parses, is not empty, and says nothing twice."""
    assert yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506  # a SafeLoader


def finished(path: Path) -> bool:
    """Return whether an SQL file is whole; one with places in braces is filled by the code."""
    return not re.search(r"\{\w+\}", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*filter(finished, package_files(".sql"))], ids=relative)
def test_sql_is_readable(path: Path) -> None:
    """A model or question parses as DuckDB SQL and holds at least one statement."""
    with duckdb.connect() as connection:
        assert connection.extract_statements(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*package_files(".sql"), *package_files(".yaml")], ids=relative)
def test_data_file_is_used(path: Path) -> None:
    """A data file is named by, or listed by, the code of its package: none is forgotten."""
    code = "\n".join(p.read_text(encoding="utf-8") for p in package_files(".py"))
    # A folder of data alone is of the package above it.
    package = path.parent if any(path.parent.glob("*.py")) else path.parent.parent
    beside = "\n".join(p.read_text(encoding="utf-8") for p in package.glob("*.py"))
    assert path.stem in code or "iterdir()" in beside or ".glob(" in beside


def functions_of(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=relative)
def test_tests_say_their_behaviour(path: Path) -> None:
    """A test states the behaviour it holds in one sentence."""
    silent = [
        node.name
        for node in functions_of(path)
        if not re.fullmatch(r"[^\n].*\.", ast.get_docstring(node) or "", flags=re.DOTALL)
        or "\n\n" in (ast.get_docstring(node) or "")
    ]
    assert silent == []


@pytest.mark.parametrize("path", project_files(".md"), ids=relative)
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    """A relative link in a document names a file that exists."""
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []
