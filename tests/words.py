"""Plain words: finds hard words and long sentences in docs, docstrings, comments and messages; long names of tests.

`make lint` runs it.

CONTRIBUTING.md has the words of the project. Most readers had English in school.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.baking import PROJECT_DIR, TEMPLATE

LONGEST = 30  # words of a sentence
LONGEST_NAME = 70  # characters of a test's name; what needs more goes into its docstring
# What is hard to read, and what to write instead.
HARD = {
    r"anew": "again",
    r"can't be had": "could not be downloaded",
    r"can't be meant": "is invalid",
    r"can't be told": "is not known",
    r"(?:is|are) meant": "what the program does then",
    r"these very": "the same",
    r"ways? out": "fix",
    r"strays?\b(?!:)": "rows of other months",
    r"in words": "as text",
    r"(?:is|are|was|were|be|been) told": "is reported",
    r"tells? (?:you|them|him|her)": "says",
    r"nobody here": "who it is",
    r"not read here": "not supported",
    r"whoever": "the user, the process or the reader",
    r"wherever": "where",
    r"whichever": "any",
    r"hence|thus|thereby|therein|thereof|whereof|whence": "so",
}
_HARD = {re.compile(rf"\b(?:{hard})\b", re.IGNORECASE): plain for hard, plain in HARD.items()}
# One word each: code, options, placeholders, addresses.
_CODE = re.compile(r"```.*?```|``.*?``|`[^`]*`|--[\w-]+|\{[^}]*\}|https?://\S+|<[^>]+>|\]\([^)]*\)", re.DOTALL)
# Sentences end with a mark; a paragraph, an item of a list and a cell of a table end them too.
_END = re.compile(r"(?<=[.!?:])[)\"'*_]*\s+|\n\s*\n|\n\s*(?=[-*#>]|\d+\.)|\|")
_SQL = re.compile(
    r"\s*(?:select|with|create|insert|merge|delete|update|call|show|alter)\b[^.]*\b(?:X|from|as|table|into)\b"
)


def faults(text: str) -> Iterator[str]:
    """What is hard to read in a text, each with what to do."""
    plain = _CODE.sub(" X ", text)
    for hard, instead in _HARD.items():
        if found := hard.search(plain):
            yield f"{found[0]!r} is hard to read; write: {instead}"
    for sentence in _END.split(plain):
        words = re.findall(r"\w[\w'.,-]*", sentence or "")
        if len(words) > LONGEST:
            yield f"a sentence of {len(words)} words, cut it: {' '.join(words[:12])} …"


def _python(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in formatted for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else " X " for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if " " in text and not _SQL.match(text):
            yield node.lineno, text
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    block: list[tokenize.TokenInfo] = []
    for comment in comments:
        if block and comment.start != (block[-1].start[0] + 1, block[-1].start[1]):
            yield block[0].start[0], " ".join(token.string.lstrip("# ") for token in block)
            block = []
        block.append(comment)
    if block:
        yield block[0].start[0], " ".join(token.string.lstrip("# ") for token in block)


def _page(path: Path) -> Iterator[tuple[int, str]]:
    text = re.sub(
        r"```.*?```", lambda block: "\n" * block[0].count("\n"), path.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    line = 1
    for part in re.split(r"(\n\s*\n)", text):
        if part.strip():
            yield line, part
        line += part.count("\n")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Of yml, Makefiles and settings: comments, a block of them as one text, and what names or describes a step."""
    block: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("#"):
            block.append(line.lstrip(" #"))
            continue
        if block:
            yield number - len(block), "\n".join(block)
            block = []
        if named := re.search(r"(?:\bname: |\bdescription: |\s##? )(.+)", line):
            yield number, named[1]
    if block:
        yield number - len(block) + 1, "\n".join(block)


def long_names(path: Path) -> Iterator[tuple[int, str]]:
    """Names of tests that are longer than people read, with their lines."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if (name := re.match(r"\s*def (test_\w+)", line)) and len(name[1]) > LONGEST_NAME:
            yield number, f"a test's name of {len(name[1])} characters; say the rest in its docstring"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file that people read, each with its line."""
    read = {".py": _python, ".md": _page}
    return read.get(path.suffix, _lines)(path)


def files() -> list[Path]:
    """What is checked: pages and code of the template, and of the project that it bakes."""
    project = TEMPLATE / PROJECT_DIR
    return [
        *TEMPLATE.glob("*.md"),
        *TEMPLATE.glob("docs/*.md"),
        *TEMPLATE.glob("hooks/*.py"),
        *project.glob("*.md"),
        *project.glob("docs/*.md"),
        *project.glob("docs/*.py"),
        project / "mkdocs.yml",
        *(path for kind in ("md", "py", "yml") for path in project.glob(f"examples/**/*.{kind}")),
        *project.glob("src/**/*.py"),
        *(path for root in (TEMPLATE, project) for path in root.glob(".github/**/*.yml")),
        *(path for root in (TEMPLATE, project) for path in (root / "Makefile", root / "compose.yaml") if path.exists()),
        *project.glob("dbt/models/**/*.yml"),
    ]


def main() -> int:
    """Print every fault with its file and line; 1 if there is one."""
    found = [
        f"{path.relative_to(TEMPLATE)}:{line}: {fault}"
        for path in sorted(files())
        for line, text in texts(path)
        for fault in faults(text)
    ]
    found += [
        f"{path.relative_to(TEMPLATE)}:{line}: {fault}"
        for path in sorted([*TEMPLATE.glob("tests/**/*.py"), *(TEMPLATE / PROJECT_DIR).glob("tests/**/*.py")])
        for line, fault in long_names(path)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
