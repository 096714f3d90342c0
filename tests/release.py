"""A release of the template: `python -m tests.release check v0.2.0`, `notes v0.2.0`, `example v0.2.0 REPOSITORY`.

CONTRIBUTING.md, "Releasing", says how a release is made; .github/workflows/release.yml runs these commands.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tests.baking import TEMPLATE, bake

BRANCH = "example"
_TAG = re.compile(r"v(\d+\.\d+\.\d+)")
_HEADING = re.compile(r"^## (\S+) \(([^)]+)\)\n", re.MULTILINE)
# GitHub lets no workflow change workflows, so the branch of a release can't have any.
_LEFT_OUT = Path(".github") / "workflows"


def declared_version(template: Path = TEMPLATE) -> str:
    """The version in pyproject.toml."""
    declared = tomllib.loads((template / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = declared["project"]["version"]
    return version


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """What CHANGELOG.md says, the newest version first: by version, what stands in brackets beside it, and the text."""
    parts = _HEADING.split(changelog)[1:]
    return {
        version: (when, text.strip()) for version, when, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def problems(tag: str, template: Path = TEMPLATE) -> Iterator[str]:
    """One sentence for each reason why this tag can't be released."""
    found = _TAG.fullmatch(tag)
    if not found:
        yield f"The tag {tag} is not of the form v1.2.3."
        return
    version = found[1]
    if version != (declared := declared_version(template)):
        yield f"The tag is {tag}, and pyproject.toml says version {declared}. Set both to the same."
    written = sections((template / "CHANGELOG.md").read_text(encoding="utf-8"))
    if version not in written:
        yield f"CHANGELOG.md has no heading '## {version} (YYYY-MM-DD)'."
        return
    if version != (newest := next(iter(written))):
        yield f"The first heading of CHANGELOG.md is {newest}, not {version}. The newest version stands first."
    when, text = written[version]
    try:
        date.fromisoformat(when)
    except ValueError:
        yield f"The heading of {version} in CHANGELOG.md says ({when}). Write the day of the release, as (2026-01-31)."
    if not text:
        yield f"CHANGELOG.md says nothing below the heading of {version}."


def notes(tag: str, template: Path = TEMPLATE) -> str:
    """What CHANGELOG.md says of a version."""
    return sections((template / "CHANGELOG.md").read_text(encoding="utf-8"))[tag.removeprefix("v")][1] + "\n"


def publish_example(tag: str, repository: str) -> bool:
    """Bake with the default answers and push the project to the branch `example`; say whether it differs from before.

    The branch keeps its history, so the difference of two commits is what an update brings. `.env` and what else
    .gitignore names stay out, and so do workflows.
    """
    author = {"NAME": "The template's release workflow", "EMAIL": "noreply@example.com"}
    environment = os.environ | {
        f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in author.items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        project = bake(Path(scratch), {})
        shutil.rmtree(project / _LEFT_OUT)

        def git(*arguments: str) -> str:
            command = ["git", *arguments]
            done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
            return done.stdout

        git("init", "--quiet", "--initial-branch", BRANCH)
        if git("ls-remote", "--heads", repository, BRANCH):
            git("fetch", "--quiet", "--depth", "1", repository, BRANCH)
            git("update-ref", f"refs/heads/{BRANCH}", "FETCH_HEAD")
        git("add", "--all")
        if not git("status", "--porcelain"):
            return False
        git("commit", "--quiet", "--message", f"What {tag} of the template bakes, without its workflows")
        git("push", "--quiet", repository, BRANCH)
        return True


def main() -> None:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["check", "notes", "example"])
    parser.add_argument("tag")
    parser.add_argument("repository", nargs="?", help="of example: where the branch is pushed to")
    asked = parser.parse_args()
    found = list(problems(asked.tag))
    if found:
        raise SystemExit("\n".join(found))
    if asked.command == "notes":
        sys.stdout.write(notes(asked.tag))
    elif asked.command == "example":
        if not asked.repository:
            parser.error("example needs a repository")
        print("pushed" if publish_example(asked.tag, asked.repository) else "nothing new")
    else:
        print(f"{asked.tag} can be released")


if __name__ == "__main__":
    main()
