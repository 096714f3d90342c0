"""`python make.py COUNT SEED FILE…`: print COUNT mutants of the files, a line of JSON each. Needs cosmic-ray alone.

Each place of the code that can be changed is drawn at most once, with one of the changes that are possible there. Left
alone is what no test can notice: annotations, what only a type checker reads, and `frozen` of a dataclass.
"""

from __future__ import annotations

import ast
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast  # isort: skip  # its plugins import each other in a circle before it
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

Place = tuple[int, int]
Change = tuple[str, int]


def main(count: int, seed: int, files: list[Path]) -> None:
    drawn = random.Random(seed)  # noqa: S311 - a draw that can be drawn again
    every = [(file, place, changes) for file in files for place, changes in sorted(places_of(file.read_text("utf-8")))]
    drawn.shuffle(every)
    mutants: list[dict[str, object]] = []
    for file, (line, _), changes in every:
        if len(mutants) < count and (code := changed(before := file.read_text("utf-8"), drawn.choice(changes))):
            was, now = (
                only_in_the_first(before, code) or [before.splitlines()[line - 1]],
                only_in_the_first(code, before),
            )
            mutants.append(
                {
                    "file": str(file),
                    "line": line,
                    "was": " ".join(text.strip() for text in was),
                    "now": " ".join(text.strip() for text in now),
                    "code": code,
                }
            )
    for mutant in sorted(mutants, key=lambda mutant: (mutant["file"], mutant["line"])):
        print(json.dumps(mutant))


def places_of(code: str) -> list[tuple[Place, list[Change]]]:
    """Places, line and column, with their possible changes: an operator, and which of its changes in the file it is."""
    found: dict[Place, list[Change]] = defaultdict(list)
    left_alone = set(of_no_effect(code))
    nodes = list(ast_nodes(get_ast(code)))
    for name in operator_names():
        operator = get_operator(name)
        # Some want to be told what to change. `is` in place of `==` is for the linter to find.
        if operator.arguments() or name.endswith(("_Is", "_IsNot")):
            continue
        for occurrence, place in enumerate(start for node in nodes for start, _ in operator().mutation_positions(node)):
            if place not in left_alone:
                found[place].append((name, occurrence))
    return list(found.items())


def changed(code: str, change: Change) -> str | None:
    """The code with the change; None if it is no Python then, or if the operator fails at it."""
    try:
        mutant: str = mutate_code(code, get_operator(change[0])(), change[1])
        ast.parse(mutant)
    except (SyntaxError, AttributeError):
        return None
    return mutant


def of_no_effect(code: str) -> Iterator[Place]:
    for node in ast.walk(ast.parse(code)):
        parts: list[ast.expr | ast.stmt | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = [node.returns]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            parts = [node]
        elif isinstance(node, ast.keyword) and node.arg == "frozen":
            parts = [node.value]
        for part in parts:
            if part is None:
                continue
            for line in range(part.lineno, (part.end_lineno or part.lineno) + 1):
                first = part.col_offset if line == part.lineno else 0
                last = (part.end_col_offset or 0) if line == part.end_lineno else 1000
                yield from ((line, column) for column in range(first, last))


def only_in_the_first(first: str, second: str) -> list[str]:
    there = set(second.splitlines())
    return [line for line in first.splitlines() if line not in there]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
