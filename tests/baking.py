"""Bakes the template from an export of its tracked files, as a user's fresh clone would give it.

The tests bake through `bake()`, the Makefile through `python -m tests.baking --output build/demo project_slug=my-lake`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT_DIR = "{{cookiecutter.project_slug}}"
# A source archive has no git; there, what a working tree gathers is left out by name.
GATHERED = {".git", ".venv", "build", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis"}


def tracked_files() -> list[str]:
    """Paths, from the template's root, of all files under version control that exist in the working tree.

    Raises:
        SystemExit: git is absent, or refuses, with what it said.
    """
    if not (TEMPLATE / ".git").exists():
        every = (path.relative_to(TEMPLATE) for path in TEMPLATE.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in every if not GATHERED.intersection(path.parts))
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=TEMPLATE, capture_output=True, check=True)
    except FileNotFoundError:
        raise SystemExit("There is no git here, which says which files a bake takes.") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"git can't list the files that a bake takes. It says: {error.stderr.decode()}") from None
    names = listed.stdout.decode().split("\0")
    return sorted(name for name in names if name and (TEMPLATE / name).is_file())


def project_files(template: Path) -> set[str]:
    """Paths, from a baked project's root, of all files that an exported template brings."""
    root = template / PROJECT_DIR
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def export(folder: Path) -> Path:
    """Copy the tracked files to a folder and return it."""
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TEMPLATE / name, target)
    return folder


def run_cookiecutter(template: Path, output: Path, answers: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Bake, over what is there, without a question; nothing of the user's own cookiecutter settings counts."""
    output.mkdir(parents=True, exist_ok=True)
    config = template.parent / "cookiecutter.yaml"
    config.write_text(
        f"replay_dir: '{template.parent / 'replay'}'\ncookiecutters_dir: '{template.parent / 'clones'}'\n"
    )
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--overwrite-if-exists"]
    command += ["--config-file", str(config), "--output-dir", str(output), str(template)]
    command += [f"{key}={value}" for key, value in answers.items()]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def bake(output: Path, answers: Mapping[str, str]) -> Path:
    """Bake into a folder and return the project's path; files that an earlier bake there left behind are removed.

    Raises:
        SystemExit: cookiecutter or a hook refused, with what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        template = export(Path(scratch) / "template")
        result = run_cookiecutter(template, output, answers)
        if result.returncode != 0:
            raise SystemExit(result.stderr or result.stdout)
        now = project_files(template)
        replay = json.loads((Path(scratch) / "replay" / "template.json").read_text(encoding="utf-8"))
    slug: str = replay["cookiecutter"]["project_slug"]
    record = output / f"{slug}.files"
    for name in set(record.read_text().splitlines() if record.exists() else []) - now:
        (output / slug / name).unlink(missing_ok=True)
    record.write_text("\n".join(sorted(now)) + "\n")
    return output / slug


def main() -> None:
    """Bake as the command line says and print the project's path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("answers", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    answers = dict(answer.split("=", 1) for answer in arguments.answers)
    print(bake(arguments.output.resolve(), answers))


if __name__ == "__main__":
    main()
