"""Write the files of a guessed dataset: all of them, or none. No file is overwritten."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.datasets import describe
from lakehouse.datasets.declaration import problem
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS, FOLDER, in_order
from lakehouse.errors import SettingsError
from lakehouse.filesystem import write_fix
from lakehouse.scaffold.dbt import model_name, staging_sql, staging_yml
from lakehouse.scaffold.declaration import declaration
from lakehouse.scaffold.guess import Guess
from lakehouse.scaffold.names import check_name


@dataclass(frozen=True)
class Project:
    """The source tree that files are written to."""

    root: Path

    def declaration(self, name: str) -> Path:
        """The file that declares a dataset."""
        return self.root / "src" / "lakehouse" / "datasets" / f"{name}.py"

    def model(self, name: str, suffix: str) -> Path:
        """A file of a staging model."""
        return self.root / "dbt" / "models" / "staging" / f"{name}.{suffix}"

    @property
    def page(self) -> Path:
        """The page with a table of each dataset."""
        return self.root / "docs" / "data.md"


def check_free(project: Project, name: str) -> None:
    """Refuse a name for which files can't be written, before samples are read.

    Raises:
        SettingsError: the name is invalid or taken, a file of it exists, or this program does not run from the project.
    """
    check_name(name)
    check_installed(project)
    for path in (project.declaration(name), project.model(f"stg_{name}", "sql"), project.model(f"stg_{name}", "yml")):
        if path.exists():
            raise SettingsError(f"{path} exists already. Nothing was written. Choose another name for the dataset.")


def check_installed(project: Project) -> None:
    """Refuse to write into files that this program does not run from.

    Raises:
        SettingsError: the program is installed apart from the project's files, or these lack a folder.
    """
    folder = project.declaration("x").parent
    if not (folder.is_dir() and folder.samefile(FOLDER)):
        raise SettingsError(
            f"This program runs from {FOLDER.parent}, apart from the project's files in {project.root}, so a new "
            f"dataset would not be found. Nothing was written. Run `make install` in {project.root}, then its own "
            "`.venv/bin/lakehouse`."
        )
    models = project.model("x", "sql").parent
    if not models.is_dir():
        raise SettingsError(
            f"The folder {models} of the staging models is missing. Nothing was written. Make it, then run the same "
            "command again."
        )


def write(project: Project, guess: Guess) -> list[Path]:
    """Write the declaration, the staging model and its yml, and put the dataset into docs/data.md.

    Raises:
        SettingsError: a file exists already, or can't be written; then none is written.
    """
    name, model = guess.dataset.name, model_name(guess)
    files = {
        project.declaration(name): declaration(guess),
        project.model(model, "sql"): staging_sql(guess),
        project.model(model, "yml"): staging_yml(guess),
    }
    _check(guess, files[project.declaration(name)])
    page = project.page.read_bytes() if project.page.is_file() else None
    written: list[Path] = []
    try:
        for path, text in files.items():
            where = path
            with path.open("x", encoding="utf-8", newline="\n") as file:
                written.append(path)
                file.write(text)
        where = project.page
        if page is not None and describe.write(project.page, in_order([*DATASETS.values(), guess.dataset])):
            written.append(project.page)
    except OSError as error:
        _undo(written, project.page, page)
        free = "" if where == project.page else "no such file is there, and that "
        raise SettingsError(
            f"{where} can't be written: {error.strerror}. Nothing was written. "
            f"{write_fix(error, f'{free}you may write there')}. Then run the same command again."
        ) from error
    except BaseException:
        _undo(written, project.page, page)
        raise
    return written


def _undo(written: list[Path], page: Path, text: bytes | None) -> None:
    for path in written:
        if path != page:
            path.unlink(missing_ok=True)
    if text is not None:
        with suppress(OSError):  # what could not be written need not be restored
            if page.read_bytes() != text:
                page.write_bytes(text)


def _check(guess: Guess, text: str) -> None:
    """Whether the file declares what was guessed and has loaded the samples."""
    names: dict[str, Any] = {}
    exec(compile(text, "declaration", "exec"), names)  # noqa: S102 - this program wrote it, with every text quoted
    (found,) = (value for value in names.values() if isinstance(value, Dataset))
    if found != guess.dataset or problem(found):
        raise SettingsError(
            f"The declaration of {guess.dataset.name} could not be written as it was guessed. Nothing was written; "
            "declare it by hand, as docs/your-own-dataset.md says."
        )
