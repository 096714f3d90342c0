"""Engines that are none of this project's, in an environment of their own: made once, pinned, kept in build/others."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock
from tests.integration.stack import PROJECT

HERE = Path(__file__).parent
LOCK = HERE / "others.lock"
KEPT = PROJECT / "build" / "others"
ICEBERG = "1.12.0"
# What Spark needs beside itself, by its coordinates in Maven's central repository.
JARS = {
    f"iceberg-spark-runtime-3.5_2.12-{ICEBERG}.jar": "8dd8c90e54ed1a20f2461309d047a255ee56382eb7c0a46162b27a4936fd86dc",
    f"iceberg-aws-bundle-{ICEBERG}.jar": "dd7e49ffa4ac9b215bed846581991259e3aec9bb2fa08d6cec029c46cd66d957",
}
JAVAS = (17, 21)


@dataclass(frozen=True)
class Others:
    """The environment's Python, and a folder of Spark's jars."""

    python: Path
    jars: Path

    def run(self, script: str, request: dict[str, Any], **environment: str) -> Any:
        """Run one of the scripts beside this file; what it is asked goes in, and its answer comes out, as JSON."""
        said = subprocess.run(
            [str(self.python), str(HERE / script)],
            input=json.dumps(request),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout.splitlines()[-1])


def cannot(reason: str) -> NoReturn:
    """Skip, and say why; in the workflows, which bring all of it, fail."""
    if os.environ.get("GITHUB_ACTIONS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def environment() -> Others:
    """The environment of `others.lock`; made by the first process that asks."""
    content = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / content
    others = Others(folder / "bin" / "python", KEPT / "jars")
    with FileLock(KEPT / "lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _told([sys.executable, "-m", "venv", str(folder)])
            pip = [str(others.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _told([*pip, "--require-hashes", "-r", str(LOCK)])
            (folder / "complete").touch()
    return others


def with_spark() -> tuple[Others, str]:
    """The environment with Spark's jars in place, and a Java that Spark 3.5 runs on."""
    others, home = environment(), java_home()
    with FileLock(KEPT / "lock"):
        for name, sha256 in JARS.items():
            jar = others.jars / name
            if not jar.exists():
                artifact, _, revision = name.removesuffix(".jar").rpartition("-")
                _fetch(others, home, artifact, revision)
            found = hashlib.sha256(jar.read_bytes()).hexdigest()
            assert found == sha256, f"{jar} has SHA-256 {found}"
    return others, home


def java_home() -> str:
    """Where a Java is that Spark 3.5 and Iceberg's runtime run on."""
    asked = [os.environ.get(name, "") for name in ("JAVA_HOME", *(f"JAVA_HOME_{n}_X64" for n in JAVAS))]
    if on_path := shutil.which("java"):
        asked.append(str(Path(on_path).resolve().parents[1]))
    for home in filter(None, asked):
        program = Path(home) / "bin" / "java"
        said = subprocess.run([str(program), "-version"], capture_output=True, text=True, check=False)
        version = re.search(r'version "(\d+)', said.stderr)
        if version and int(version[1]) in JAVAS:
            return home
    cannot("Spark 3.5 needs Java 17 or 21: none is on the path or in JAVA_HOME")


def _fetch(others: Others, home: str, artifact: str, revision: str) -> None:
    """By the Ivy that comes with Spark, which knows where Maven's artefacts are."""
    (library,) = others.python.parents[1].glob("lib/*/site-packages/pyspark/jars")
    command = [f"{home}/bin/java", "-cp", f"{library}/*", "org.apache.ivy.Main", "-warn", "-cache", str(KEPT / "ivy")]
    command += ["-dependency", "org.apache.iceberg", artifact, revision]
    _told([*command, "-retrieve", f"{others.jars}/[artifact]-[revision].[ext]"])
    if not (others.jars / f"{artifact}-{revision}.jar").exists():
        cannot(f"{artifact} {revision} can't be had from Maven's central repository")


def _told(command: list[str]) -> None:
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        last = (said.stderr or said.stdout).strip().splitlines()[-3:]
        cannot(f"the environment of {LOCK.name} can't be made: {' '.join(last)}")
