"""The template's own pages: their links lead somewhere, and README keeps what a newcomer looks for."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.baking import TEMPLATE

PAGES = sorted([*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that a git host makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_every_link_of_a_page_leads_to_a_file_or_heading(page: Path) -> None:
    lost = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def test_readme_says_what_why_what_for_and_how_in_this_order() -> None:
    """Thirty seconds of README are enough: a sentence each, the picture, what you get and need, two commands."""
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    first_screen = readme.split("\n## ", 1)[0]

    assert len(first_screen.split()) < 100
    assert first_screen.count("![") == 1
    headings = re.findall(r"^## (.+)$", readme, re.MULTILINE)
    assert headings[:4] == ["What you get", "What you need", "Two commands", "What you are asked"]
    assert {"What it costs", "Compared with other projects", "Upgrading"} <= set(headings)
    assert "docs/figures.md" in readme
    assert re.search(r"As their public pages said on \d+ \w+ 20\d\d\.", readme)
