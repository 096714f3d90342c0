"""Installing: what is downloaded is reported before and meanwhile, and what often fails is found before it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR, TEMPLATE
from tests.conftest import BakedProject, Template

SCRIPT = TEMPLATE / PROJECT_DIR / "deploy" / "install.sh"
UV = Path(sys.executable).parent / "uv"
PYTHON = Path(sys.executable).resolve()
TOOLS = ("sh", "sed", "awk", "cmp", "cat", "make", "env", "rm", "mkdir", "grep", "tail", "head", "date", "sleep", "df")
# Root may write everything: without these rights it is like anybody else.
AS_ANYBODY = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"]
NOWHERE = "http://127.0.0.1:9/simple/"


class Index:
    """A package index on loopback with one small package, which it gives after a while, or not."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / "small-1.0-py3-none-any.whl"
        self.metadata = b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"
        files = {
            "small.py": b"",
            "small-1.0.dist-info/METADATA": self.metadata,
            "small-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(self.wheel, "w") as archive:
            rows = []
            for name, content in files.items():
                archive.writestr(name, content)
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
                rows.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr("small-1.0.dist-info/RECORD", "\n".join([*rows, "small-1.0.dist-info/RECORD,,", ""]))
        self.sha256 = hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        self.seconds = 0.0
        self.breaks_off = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple/"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".whl"):
                    time.sleep(index.seconds)
                    content, kind = index.wheel.read_bytes(), "application/zip"
                elif self.path.endswith(".metadata"):
                    content, kind = index.metadata, "text/plain"
                else:
                    link = f'<a href="/{index.wheel.name}#sha256={index.sha256}" data-core-metadata="true">x</a>'
                    content, kind = link.replace(">x<", f">{index.wheel.name}<").encode(), "text/html"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if not (index.breaks_off and self.path.endswith(".whl")):
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path)
    thread = threading.Thread(target=index.server.serve_forever, daemon=True)
    thread.start()
    yield index
    index.server.shutdown()
    index.server.server_close()
    thread.join()


@pytest.fixture
def place(tmp_path: Path, index: Index) -> Path:
    """A folder with a lock of one package."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "small.lock").write_text(f"small==1.0 \\\n    --hash=sha256:{index.sha256}\n")
    (folder / "pyproject.toml").touch()
    return folder


def tools(folder: Path, *more: str | Path) -> str:
    """A PATH with what every system has, and with these."""
    path = folder / "tools"
    path.mkdir(exist_ok=True)
    for tool in (*TOOLS, *more):
        found = shutil.which(tool)
        assert found, tool
        name = "python3" if "python" in Path(found).name else Path(found).name
        (path / name).symlink_to(found)
    return str(path)


def install(
    place: Path,
    path: str,
    url: str = NOWHERE,
    *,
    sizes: tuple[int, int] = (1, 1),
    before: tuple[str, ...] = (),
    **more: str,
) -> tuple[int, list[tuple[float, str]]]:
    """Run the script; its exit code and its lines, each with the second at which it came."""
    began = time.monotonic()
    command = [*before, "sh", str(SCRIPT), "a package", "small.lock", *map(str, sizes)]
    environment = {
        "PATH": path,
        "HOME": str(place.parent),
        "LC_ALL": "C.UTF-8",
        "UV_DEFAULT_INDEX": url,
        "PIP_INDEX_URL": url,
        "PIP_CONFIG_FILE": os.devnull,
        "UV_CACHE_DIR": str(place.parent / "cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        **more,
    }
    with subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        assert process.stdout
        lines = [(time.monotonic() - began, line.rstrip("\n")) for line in process.stdout]
    return process.returncode, lines


def text(lines: list[tuple[float, str]]) -> str:
    return "\n".join(line for _, line in lines)


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The tool that installs, and a PATH with it."""
    return request.param, tools(tmp_path, PYTHON, *([UV] if request.param == "uv" else []))


def test_a_slow_installation_is_reported_before_and_meanwhile(
    place: Path, index: Index, installer: tuple[str, str]
) -> None:
    tool, path = installer
    index.seconds = 6.5

    code, lines = install(place, path, index.url, sizes=(12, 34))

    assert code == 0, text(lines)
    assert lines[0][1].startswith(f"Installing a package with {tool}: 12 MB to download")
    assert "and 34 MB on the disk" in lines[0][1]
    assert re.search(r"^ +\d+ s: 0 of about 12 MB are downloaded$", text(lines), re.MULTILINE)
    assert lines[-1][1].startswith("Installed in ")
    moments = [at for at, _ in lines]
    assert max(b - a for a, b in pairwise(moments)) < 10
    assert list(place.glob(".venv/lib/*/site-packages/small.py"))


def test_without_a_network_one_sentence_names_it(place: Path, installer: tuple[str, str]) -> None:
    code, lines = install(place, installer[1])

    assert code == 1
    last = lines[-1][1]
    assert last.startswith("error: The network does not reach the package index, and nothing was downloaded: ")
    assert "onnection refused" in last
    assert "no matching distribution" not in text(lines).lower()


def test_without_a_network_uv_takes_what_it_has_kept(place: Path, index: Index, tmp_path: Path) -> None:
    path = tools(tmp_path, PYTHON, UV)
    assert install(place, path, index.url)[0] == 0
    shutil.rmtree(place / ".venv")
    index.server.shutdown()
    index.server.server_close()

    code, lines = install(place, path, index.url)

    assert code == 0, text(lines)
    assert "There is no network. uv has all packages in its cache." in text(lines)


def test_a_network_that_fails_half_way_is_named(place: Path, index: Index, tmp_path: Path) -> None:
    index.breaks_off = True

    code, lines = install(place, tools(tmp_path, PYTHON, UV), index.url, UV_HTTP_RETRIES="0")

    assert code == 1
    assert "error: The network failed, and the installation is not complete: " in text(lines)


def test_too_little_disk_is_found_before_anything_is_made(place: Path, tmp_path: Path) -> None:
    code, lines = install(place, tools(tmp_path, PYTHON), sizes=(1000, 10**9))

    assert code == 1
    assert re.fullmatch(
        r"error: The disk of .* has \d+ MB free, and the installation needs 1000001000 MB\. .*", text(lines)
    )
    assert not (place / ".venv").exists()


@pytest.fixture
def anybody() -> tuple[str, ...]:
    """What goes before a command so that the rights of files count for it."""
    if os.geteuid():
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("root may write everything, and there is no setpriv to give that up")
    return tuple(AS_ANYBODY)


def test_a_folder_that_may_not_be_written_is_found_first(place: Path, tmp_path: Path, anybody: tuple[str, ...]) -> None:
    path = tools(tmp_path, PYTHON, *anybody[:1])
    place.chmod(0o555)

    try:
        code, lines = install(place, path, before=anybody)
    finally:
        place.chmod(0o755)

    assert code == 1
    assert text(lines).startswith(f"error: You may not write to {place}. Nothing was downloaded.")


def test_uv_goes_on_without_a_cache_that_it_may_not_write(
    place: Path, index: Index, tmp_path: Path, anybody: tuple[str, ...]
) -> None:
    path = tools(tmp_path, PYTHON, UV, *anybody[:1])
    (locked := tmp_path / "locked").mkdir(mode=0o555)

    code, lines = install(place, path, index.url, before=anybody, UV_CACHE_DIR=str(locked / "cache"))

    assert code == 0, text(lines)
    assert f"uv may not write to {locked}, where it keeps packages. It goes on without keeping them." in text(lines)


def test_without_a_python_that_fits_and_uv_both_are_named(place: Path, tmp_path: Path) -> None:
    code, lines = install(place, tools(tmp_path))

    assert code == 1
    assert text(lines).startswith("error: There is no python3 here. Python 3.11, 3.12 or 3.13 is needed, or uv, which")


def test_uv_without_any_python_says_which_is_needed(place: Path, tmp_path: Path) -> None:
    code, lines = install(place, tools(tmp_path, UV))

    assert code == 1
    assert "There is no python3 here. uv downloads a Python that fits." in text(lines)
    assert "with Python 3.11, 3.12 or 3.13. It says: " in text(lines)


def test_a_python_that_does_not_run_is_named(place: Path, tmp_path: Path) -> None:
    code, lines = install(place, tools(tmp_path, PYTHON), PYTHON="python3.99")

    assert code == 1
    assert text(lines).startswith("error: PYTHON is python3.99, which does not run. Nothing was downloaded.")


def test_a_python_of_another_version_is_named(place: Path, tmp_path: Path) -> None:
    find = [str(UV), "python", "find", "--no-project", "--no-python-downloads"]
    asked = (
        subprocess.run([*find, other], capture_output=True, text=True, check=False) for other in ("<3.11", ">=3.14")
    )
    python = next((found.stdout.strip() for found in asked if not found.returncode), None)
    if python is None:
        pytest.skip("all Pythons of this machine fit")

    code, lines = install(place, tools(tmp_path, python))

    assert code == 1
    assert re.match(r"error: python3 is Python 3\.\d+\.\w+\. Python 3\.11, 3\.12 or 3\.13 is needed", text(lines))


def test_a_path_that_the_locale_can_not_read_is_found_first(place: Path, tmp_path: Path) -> None:
    if not shutil.which("locale"):
        pytest.skip("this system has one encoding")
    folder = place.rename(tmp_path / "größe")

    code, lines = install(folder, tools(tmp_path, PYTHON, "locale"), LC_ALL="C")

    assert code == 1
    assert "größe has letters that the locale C lacks" in text(lines)
    assert not (folder / ".venv").exists()


def test_an_environment_behind_a_link_is_left_alone(place: Path, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "file").touch()
    (place / ".venv").symlink_to(elsewhere)

    code, lines = install(place, tools(tmp_path, PYTHON))

    assert code == 1
    assert "is a link, and what it leads to would be deleted" in text(lines)
    assert (elsewhere / "file").exists()


def make_in_a_clone(folder: Path, path: str, **variables: str) -> str:
    """What `make demo` says in a folder with git's own files and the template's Makefile; it must fail."""
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    shutil.copy(TEMPLATE / "Makefile", folder)
    environment = {"PATH": path, "HOME": str(folder), **variables}
    done = subprocess.run(["make", "demo"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not (folder / ".venv").exists()
    return done.stderr


def test_without_git_nothing_is_downloaded(tmp_path: Path) -> None:
    said = make_in_a_clone(tmp_path, tools(tmp_path))

    assert "error: There is no git here." in said


def test_a_clone_of_another_user_is_reported_by_gits_own_words(tmp_path: Path) -> None:
    said = make_in_a_clone(tmp_path, tools(tmp_path, "git"), GIT_TEST_ASSUME_DIFFERENT_OWNER="1")

    assert "error: git can't list the files of this clone" in said
    assert "detected dubious ownership" in said
    assert "safe.directory" in said


def lock_of(project: BakedProject, target: str) -> str:
    """The lock that a target installs in a fresh bake, as make would run it."""
    said = project.run("make", "--dry-run", target, "MONTHS=2024-01").stdout
    found = re.findall(r"install\.sh .* (\S+\.lock) \d+ \d+", said)
    assert len(found) == 1
    return str(found[0])


def test_each_target_installs_what_it_needs(template: Template, tmp_path: Path) -> None:
    project = template.bake(tmp_path)

    for target in ("demo", "run", "dev"):
        assert lock_of(project, target) == "requirements-runtime.lock", target
    for target in ("install", "test", "lint", "fix", "integration", "bench"):
        assert lock_of(project, target) == "requirements.lock", target


def test_the_size_that_is_named_is_what_an_installation_takes(installed: BakedProject) -> None:
    sizes = re.search(r"^ALL_MB := \d+ (\d+)$", installed.read("Makefile"), re.MULTILINE)
    assert sizes

    used = int(subprocess.check_output(["du", "-sm", str(installed.path / ".venv")]).split()[0])

    assert used == pytest.approx(int(sizes[1]), rel=0.2)
