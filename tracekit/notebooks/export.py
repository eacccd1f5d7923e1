"""Write the notebooks, run over a lake, as files: `python -m tracekit.notebooks.export FOLDER`.

Each becomes NAME.html, which opens offline and shows what the notebook shows before anybody chooses
anything, and NAME.ipynb with the same outputs. TRACEKIT_LAKE names the lake.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click
from markupsafe import Markup

from tracekit.pages.notebooks import lake_path, notebooks
from tracekit.pages.render import page, style

if TYPE_CHECKING:
    from tracekit.pages.notebooks import Notebook

_CONTROL: Final = "<marimo-"
"""What elements that want a running marimo begin with: choices, and nothing to read."""


def outputs(notebook: Notebook) -> list[str]:
    """Run a notebook and return what its cells show, as HTML.

    Raises:
        TracekitError: If the lake cannot be read.
    """
    shown, _ = import_module(f"tracekit.notebooks.{notebook.name}").app.run()
    texts = (getattr(one, "text", "") for one in shown)
    return [text for text in texts if text and _CONTROL not in text]


def html(notebook: Notebook) -> str:
    """Return a notebook with its outputs as a page that opens offline."""
    return page(
        "notebook.html",
        title=notebook.title,
        lake=str(lake_path()),
        outputs=[Markup(text) for text in outputs(notebook)],  # noqa: S704 - drawn by our templates
        style=Markup(style()),  # noqa: S704 - our own file
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write every notebook, run over the lake TRACEKIT_LAKE, into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in notebooks():
        (folder / f"{notebook.name}.html").write_text(html(notebook), encoding="utf-8")
        _ipynb(notebook, folder / f"{notebook.name}.ipynb")
        click.echo(f"Wrote {folder / notebook.name}.html and .ipynb")


def _ipynb(notebook: Notebook, path: Path) -> None:
    """Have marimo write a copy, for it leaves files of its own beside what it reads."""
    with TemporaryDirectory() as folder:
        copy = shutil.copy(notebook.path, folder)
        command = [sys.executable, "-m", "marimo", "export", "ipynb", str(copy)]
        command += ["--output", str(path), "--include-outputs", "--force"]
        subprocess.run(command, check=True)  # noqa: S603 - marimo, on our own files


if __name__ == "__main__":
    main()
