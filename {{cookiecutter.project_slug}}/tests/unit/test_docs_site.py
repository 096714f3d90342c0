"""The docs site: its menu has each page, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs import site_pages
from tests.marks import takes_minutes
from tests.unit.dagster_project import PROJECT

_MADE = shutil.ignore_patterns(".venv", "data", "build", "target", "reports", "logs", ".dagster", ".git", "__pycache__")


def menu(entry: Any) -> Iterator[str]:
    """The pages that stand in a part of the menu."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []:
        yield from menu(part)


def test_each_page_stands_in_the_menu_once() -> None:
    declared = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))

    listed = sorted(menu(declared["nav"]))

    assert listed == sorted(path.as_posix() for path in site_pages.pages(PROJECT).values())
    assert len(listed) > 10


def test_every_link_on_the_site_leads_to_a_page_or_picture(tmp_path: Path) -> None:
    site_pages.lay_out(PROJECT, tmp_path / "site", lambda _: "<svg/>")

    pages = list((tmp_path / "site").rglob("*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert (tmp_path / "site" / "files" / "dbt" / "models" / "staging.md").is_file()  # README links to this folder
    assert "```mermaid" not in text
    for page in pages:
        prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s#]+)[)#]", prose):
            assert re.match(r"[a-z]+:", link) or (page.parent / link).is_file(), f"{page.name}: {link}"


def test_a_link_to_what_is_not_there_is_refused_with_its_page(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "docs" / "images").mkdir(parents=True)
    (project / "README.md").write_text("# Ours\n", encoding="utf-8")
    (project / "AGENTS.md").write_text("# Folders\n", encoding="utf-8")
    (project / "docs" / "more.md").write_text("See [this](../src/gone.py).\n", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"docs/more\.md links to \.\./src/gone\.py, and there is no src/gone\.py"):
        site_pages.lay_out(project, tmp_path / "site", lambda _: "<svg/>")


@takes_minutes  # it installs what builds the site
@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=_MADE, symlinks=True)

    build(project)

    html = project / "build" / "docs-site" / "html"
    pages = {path.relative_to(html).as_posix(): path.read_text(encoding="utf-8") for path in html.rglob("*.html")}
    assert {place.with_suffix(".html").as_posix() for place in site_pages.pages(PROJECT).values()} <= set(pages)
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\"> ]+)", text)
        assert loaded == [], name
        assert 'class="mermaid"' not in text, name  # the theme would load a script for it
    for style in html.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style
    (drawn,) = html.glob("images/index-*.svg")
    assert "snapshot" in drawn.read_text(encoding="utf-8")
    assert "background-color: white" in drawn.read_text(encoding="utf-8")

    with (project / "docs" / "backup.md").open("a", encoding="utf-8") as page:
        page.write("\nSee [the services](stack.md#a-heading-that-is-not-there).\n")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        build(project)
    assert "anchor does not exist" in re.sub(r"\x1b\[[\d;]*m", "", refused.value.stdout)


def build(project: Path) -> None:
    """Run `make docs-site` as a developer does."""
    subprocess.run(
        ["make", "--no-print-directory", "docs-site"],
        cwd=project,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
