"""Makes a fresh project ready for this machine: `.env` with secrets of its own, and Dagster's home.

Standard library only, no network and no git (a template update runs it again, in a temporary folder). What is there
already is left alone, so baking over a project keeps its secrets.
"""

import json
import os
import re
import secrets
import tempfile
from pathlib import Path

ANSWERS = r"""
{{ cookiecutter | tojson }}
"""

TARGET = re.compile(r"^\s*(?:export\s+)?LAKEHOUSE_TARGET\s*=\s*['\"]?(\w+)", re.MULTILINE)
SECRET = re.compile(r"^([A-Z0-9_]+_(?:PASSWORD|SECRET_KEY))=$", re.MULTILINE)
HOME = re.compile(r"^DAGSTER_HOME=$", re.MULTILINE)


def env_text(example: str, dagster_home: str) -> str:
    """`.env` for this machine: the example, its empty secrets filled with random ones and Dagster's home named."""
    # Hexadecimal digits mean the same in a shell, in compose and in a URL. Anything goes in a folder's name, and
    # between single quotes dotenv and compose take it as it stands.
    plain = re.fullmatch(r"[\w./:\\~+@-]+", dagster_home, re.ASCII) and "\\" not in dagster_home
    escaped = dagster_home.replace("\\", "\\\\").replace("'", "\\'")
    home = dagster_home if plain else f"'{escaped}'"
    text = SECRET.sub(lambda match: f"{match[1]}={secrets.token_hex(20)}", example)
    return HOME.sub(lambda _: f"DAGSTER_HOME={home}", text)


def write_new(path: Path, text: str, mode: int) -> bool:
    """Write a file that does not exist yet, with its mode from the first byte on; say whether it was written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return True


def link_new(path: Path, target: Path) -> None:
    """Link to a file, from a path where nothing is yet; where the system makes no links, copy it."""
    if os.path.lexists(path):
        return
    try:
        path.symlink_to(target)
    except OSError:
        write_new(path, (path.parent / target).read_text(encoding="utf-8"), 0o644)


def target_in(env: Path) -> str | None:
    """The target that an `.env` says; None where it says none, or can't be read."""
    try:
        found = TARGET.findall(env.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[-1] if found else None  # the last line of a name counts


def is_for_a_comparison(project: Path) -> bool:
    """Whether cruft makes it to compare it with a project: in a folder right inside a temporary one of Python."""
    folder = project.parent
    return folder.parent == Path(tempfile.gettempdir()).resolve() and bool(re.match(r"tmp[a-z0-9_]{8}$", folder.name))


def main() -> None:
    """Prepare the project in the current folder and say what to do next."""
    answers = json.loads(ANSWERS)
    project = Path.cwd()
    dagster_home = project / ".dagster"
    dagster_home.mkdir(exist_ok=True)
    link_new(dagster_home / "dagster.yaml", Path("..") / "deploy" / "dagster" / "dagster.yaml")
    example = (project / ".env.example").read_text(encoding="utf-8")
    fresh = write_new(project / ".env", env_text(example, str(dagster_home)), 0o600)

    if is_for_a_comparison(project):
        return
    target = target_in(project / ".env") or answers["target"]
    start = "make demo" if target == "embedded" else "make stack-up"
    print(f"\n{answers['project_slug']} is ready. {'.env has new secrets.' if fresh else '.env was left as it is.'}")
    if target != answers["target"]:
        print(f"The target is still {target}. For {answers['target']}, set LAKEHOUSE_TARGET in .env.")
    print(f"  cd {answers['project_slug']}")
    print(f"  {start}\n")


if __name__ == "__main__":
    main()
