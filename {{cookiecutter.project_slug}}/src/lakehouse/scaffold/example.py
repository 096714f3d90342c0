"""Examples: folders of `examples` whose files are copied into the project, all of them or none. None is overwritten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.filesystem import write_fix
from lakehouse.scaffold.names import check_name
from lakehouse.scaffold.write import Project, check_installed

_TAKEN = "rename your dataset, or do without this example."
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A folder of `examples`: `README.md` says what it shows, `project` has what is copied, laid out as it will be."""

    folder: Path

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.folder.name

    @property
    def page(self) -> Path:
        """The page that says what it shows."""
        return self.folder / "README.md"

    @property
    def title(self) -> str:
        """The heading of its page: one line on what it shows."""
        return self.page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")

    @property
    def next_commands(self) -> list[str]:
        """The second block of commands of its page; the first one copies the files."""
        return str(_BLOCK.findall(self.page.read_text(encoding="utf-8"))[1]).splitlines()

    @property
    def files(self) -> dict[Path, Path]:
        """The files that are copied: where each belongs below the project's root, and where it lies now."""
        root = self.folder / "project"
        found = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(root): path for path in found}


def examples_of(project: Project) -> dict[str, Example]:
    """The examples of a project, by name."""
    pages = sorted((project.root / "examples").glob("*/README.md"))
    return {page.parent.name: Example(page.parent) for page in pages}


def copy_example(project: Project, name: str) -> list[Path]:
    """Copy the files of an example to their places, and give their paths.

    Raises:
        SettingsError: there is no such example, a file or a dataset of it exists already, or a file can't be written.
            Then nothing is copied.
    """
    known = examples_of(project)
    if name not in known:
        there = f"The examples are: {', '.join(known)}." if known else f"{project.root / 'examples'} has none."
        raise SettingsError(f"There is no example {name!r}. Nothing was copied. {there}")
    check_installed(project)
    targets = {project.root / place: source for place, source in known[name].files.items()}
    for path in targets:
        if path.exists() or path.is_symlink():
            raise SettingsError(
                f"The example needs {path}, which is there already. Nothing was copied. If it is of this example, "
                f"there is nothing to do. If it is your own, {_TAKEN}"
            )
        if path.parent == project.declaration(name).parent:
            check_name(path.stem, _TAKEN.capitalize())
    written: list[Path] = []
    try:
        for path, source in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                written.append(path)
                file.write(source.read_bytes())
    except BaseException as error:
        for one in written:
            one.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise SettingsError(
            f"{source} can't be copied to {path}: {error.strerror}. Nothing was copied. "
            f"{write_fix(error, 'you may read and write there')}. Then run the same command again."
        ) from error
    return written
