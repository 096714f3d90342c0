"""AGENTS.md is true: the files, tests and names of code that it mentions are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MENTIONED = set(re.findall(r"`([^`\n]+)`", (ROOT / "AGENTS.md").read_text(encoding="utf-8")))
FILES = [
    path for folder in ("src", "tests", "dbt", "docs", "deploy", "examples") for path in (ROOT / folder).rglob("*.*")
]
SUFFIXES = (".py", ".sql", ".yml", ".yaml", ".md", ".toml")
CODE = (".py", ".sql", ".yml")
A_PLACEHOLDER = "NAME"


def test_every_file_that_it_names_is_there() -> None:
    named = [name for name in MENTIONED if name.endswith(SUFFIXES) and A_PLACEHOLDER not in name]
    there = [f"/{path.relative_to(ROOT).as_posix()}" for path in (*FILES, *ROOT.glob("*.*"))]

    assert len(named) > 30
    assert sorted(name for name in named if not any(path.endswith(f"/{name}") for path in there)) == []


def test_every_test_function_and_class_that_it_names_is_there() -> None:
    own = Path(__file__).name
    code = [path for path in FILES if path.suffix in CODE and path.name != own]
    text = "\n".join(path.read_text(encoding="utf-8") for path in code)
    named = {name for name in MENTIONED if re.fullmatch(r"\w+(\.\w+)?", name) and not name.endswith(SUFFIXES)}
    parts = {part for name in named for part in name.split(".") if A_PLACEHOLDER not in part}

    assert {"Conformer", "finish", "still_current"} <= parts
    assert sorted(part for part in parts if not re.search(rf"\b{part}\b", text)) == []
