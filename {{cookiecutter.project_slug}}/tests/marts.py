"""The marts that there are: each is a file."""

from __future__ import annotations

from lakehouse.settings import project_dir

MARTS = tuple(sorted(path.stem for path in (project_dir() / "dbt" / "models" / "marts").glob("*.sql")))
