"""Lays out the pages of the docs site: README, docs, examples, and the files of the project that they link to.

`make docs-site` runs it, then zensical builds what is in build/docs-site/pages, as mkdocs.yml says. On a site a page
can only link to what is on the site. So each link to a file or a folder of the project leads to a page that shows it,
and diagrams become pictures, which need no script from elsewhere.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = Path("docs/images")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
_ADDRESS = re.compile(r"[a-z]+:")
# How a block of code is coloured.
_LANGUAGES = {".py": "python", ".sql": "sql", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".sh": "sh"}


def pages(root: Path) -> dict[Path, Path]:
    """Each page of the project, with its place on the site; both relative."""
    found = {Path("README.md"): Path("index.md"), Path("AGENTS.md"): Path("agents.md")}
    found |= {path.relative_to(root): Path(path.name) for path in sorted(root.glob("docs/*.md"))}
    for path in sorted(root.glob("examples/*/README.md")):
        found[path.relative_to(root)] = Path("examples") / f"{path.parent.name}.md"
    return found


def lay_out(root: Path, site: Path, draw: Callable[[str], str]) -> None:
    """Write all pages and pictures of the site into an empty folder.

    Args:
        root: the project.
        site: where to; what is there is removed.
        draw: makes an SVG picture of a diagram's text.

    Raises:
        SystemExit: a link leads to what is not there.
    """
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(root / PICTURES, site / PICTURES.name)
    made = _Site(root, site, draw, pages(root))
    for source, place in made.places.items():
        _write(site / place, made.text_of(source))
    for source, place in made.shown.items():
        _write(site / place, _shown(root, source))


@dataclass(frozen=True)
class _Site:
    """A site while it is laid out: `places` of pages, and of files that a link on them leads to (`shown`)."""

    root: Path
    folder: Path
    draw: Callable[[str], str]
    places: dict[Path, Path]
    shown: dict[Path, Path] = field(default_factory=dict)

    def text_of(self, source: Path) -> str:
        """A page's text with links as on the site; code as it stands, and diagrams as pictures."""
        text = (self.root / source).read_text(encoding="utf-8")
        place = self.places[source]
        parts, end = [], 0
        for number, block in enumerate(_FENCE.finditer(text), start=1):
            parts.append(self._linked(source, text[end : block.start()]))
            end = block.end()
            parts.append(self._picture(place, number, block[2]) if block[1] == "mermaid" else block[0])
        return "".join([*parts, self._linked(source, text[end:])])

    def _picture(self, place: Path, number: int, diagram: str) -> str:
        picture = Path(PICTURES.name) / f"{place.stem}-{number}.svg"
        _write(self.folder / picture, self.draw(diagram))
        return f"![Diagram]({_from(place, picture)})"

    def _linked(self, source: Path, prose: str) -> str:
        return _LINK.sub(lambda link: self._link(source, link[1]), prose)

    def _link(self, source: Path, link: str) -> str:
        target = _target(self.root, source, link)
        if target is None:
            return link
        if target.is_relative_to(PICTURES):
            there = Path(PICTURES.name) / target.relative_to(PICTURES)
        elif target in self.places:
            there = self.places[target]
        else:
            there = self.shown.setdefault(target, Path("files") / f"{target.as_posix().lstrip('.')}.md")
        return _from(self.places[source], there)


def _from(place: Path, there: Path) -> str:
    return Path(os.path.relpath(there, place.parent)).as_posix()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _target(root: Path, source: Path, link: str) -> Path | None:
    """What of the project a link leads to; None for an address."""
    if _ADDRESS.match(link):
        return None
    target = Path(os.path.normpath(source.parent / link))
    if not (root / target).exists():
        raise SystemExit(f"{source} links to {link}, and there is no {target} in the project. Correct the link.")
    return target


def _shown(root: Path, source: Path) -> str:
    """A page that shows a file, or each file of a folder."""
    path = root / source
    files = sorted(path.glob("*.*")) if path.is_dir() else [path]
    parts = [f"# {source.as_posix()}\n"]
    for file in files:
        if path.is_dir():
            parts.append(f"## {file.name}\n")
        parts.append(f"````{_LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n")
    return "\n".join(parts)


def _draw(diagram: str) -> str:
    # Only the environment of the site has it.
    picture: str = importlib.import_module("mermaidx").render(diagram).svg()
    return picture.replace("background-color: transparent", "background-color: white", 1)  # also on a dark page


if __name__ == "__main__":
    lay_out(ROOT, Path(sys.argv[1]), _draw)
