"""The check for plain words finds what it is for, in every kind of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import words

LONG = " ".join(["word"] * (words.LONGEST + 1)) + "."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Land the file anew.", ["'anew' is hard to read; write: again"]),
        ("Load with `--allow-strays` or --allow-strays.", []),
        (LONG, [f"a sentence of {words.LONGEST + 1} words, cut it: {' '.join(['word'] * 12)} …"]),
        (LONG.replace("word word.", "word. Word."), []),
        (f"Code is one word: `{LONG}`", []),
    ],
)
def test_hard_words_and_long_sentences_are_found(text: str, found: list[str]) -> None:
    assert list(words.faults(text)) == found


def test_docstrings_messages_and_comments_are_read_and_sql_is_not(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(
        '"""Made anew."""\n'
        "# a comment that\n# is landed anew\n"
        'raise ValueError(f"{1} was landed anew")\n'
        'query = f"select anew from {1}"\n',
        encoding="utf-8",
    )

    assert sorted(line for line, text in words.texts(path) if list(words.faults(text))) == [1, 2, 4]


def test_a_page_is_read_without_its_code(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n\n```sh\nland anew\n```\n\nIt is landed anew.\n", encoding="utf-8")

    assert [line for line, text in words.texts(path) if list(words.faults(text))] == [7]


def test_comments_and_steps_of_yml_and_makefiles_are_read(tmp_path: Path) -> None:
    workflow, makefile = tmp_path / "nightly.yml", tmp_path / "Makefile"
    workflow.write_text("# a comment that\n# is landed anew\njobs:\n  - name: land anew\n    run: land anew\n", "utf-8")
    makefile.write_text("lock: install ## Land anew\n\tland anew\n", "utf-8")

    found = [line for path in (workflow, makefile) for line, text in words.texts(path) if list(words.faults(text))]

    assert found == [1, 4, 1]


def test_a_long_name_of_a_test_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test_code.py"
    path.write_text(f"def test_short() -> None: ...\n\n\ndef test_{'long_' * 20}name() -> None: ...\n", "utf-8")

    assert [line for line, _ in words.long_names(path)] == [4]
