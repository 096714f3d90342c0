#!/usr/bin/env python3
"""Make what Trino needs for TLS and passwords: a certificate of its own, a password file, a shared secret.

    python deploy/secure/prepare.py [USER]

Writes deploy/secure/local/ (git-ignored) and prints the lines for .env, COMPOSE_FILE among them: with it every
`docker compose` in the project reads compose.secure.yaml too. Run again, it makes all anew, and the last line of a
name in .env counts. The password comes from TRINO_PASSWORD, else a random one is made. Standard library and `openssl`
only. Bring a certificate of your authority as trino.pem instead (key and chain in one file) where you have one.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

# Trino takes PBKDF2 as iterations:salt:hash in hex, from 1,000 iterations on.
ITERATIONS = 20_000
NAMES = "DNS:localhost,DNS:trino,IP:127.0.0.1"


def port() -> str:
    """TRINO_PORT of the environment or of the project's .env."""
    file = Path(__file__).parents[2] / ".env"
    lines = file.read_text().splitlines() if file.exists() else []
    named = dict(line.split("=", 1) for line in lines if line.startswith("TRINO_PORT="))
    return os.environ.get("TRINO_PORT") or named.get("TRINO_PORT") or "8080"


def main(folder: Path, user: str) -> None:
    """Write `folder`/ca.pem, and `folder`/trino/, which the container sees, with trino.pem and password.db."""
    folder.mkdir(parents=True, exist_ok=True)
    # Nobody else gets through the outer folder; in the container only the inner one exists, readable by its user.
    folder.chmod(0o700)
    inner = folder / "trino"
    inner.mkdir(exist_ok=True)
    inner.chmod(0o755)
    password = os.environ.get("TRINO_PASSWORD") or secrets.token_urlsafe(24)
    key, certificate = folder / "key.pem", folder / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "825", "-subj", "/CN=trino"]
    command += ["-addext", f"subjectAltName={NAMES}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, ITERATIONS, 64)
    files = {
        "trino.pem": key.read_text() + certificate.read_text(),
        "password.db": f"{user}:{ITERATIONS}:{salt.hex()}:{digest.hex()}\n",
    }
    key.unlink()
    for name, text in files.items():
        (inner / name).write_text(text)
        (inner / name).chmod(0o644)
    lines = {
        "TRINO_URL": f"https://127.0.0.1:{port()}",
        "TRINO_USER": user,
        "TRINO_PASSWORD": password,
        "TRINO_CA_FILE": certificate.resolve(),
        "TRINO_SHARED_SECRET": secrets.token_hex(32),
        "COMPOSE_FILE": os.pathsep.join(("compose.yaml", "compose.secure.yaml")),
    }
    sys.stdout.writelines(f"{name}={value}\n" for name, value in lines.items())


if __name__ == "__main__":
    main(Path(__file__).parent / "local", sys.argv[1] if len(sys.argv) > 1 else "lakehouse")
