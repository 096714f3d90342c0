"""A process of its own that loads one month: says `ready` once all is imported, starts when told, says what it did.

Usage: python -m tests.unit.loading_process HOME DATASET MONTH
"""

from __future__ import annotations

import sys
from pathlib import Path

from lakehouse.errors import LakehouseError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.loading import load
from lakehouse.landing import open_landing
from lakehouse.settings import Settings
from lakehouse.tlc.months import Month


def main() -> None:
    home, dataset, month = sys.argv[1:]
    settings = Settings(LAKEHOUSE_HOME=Path(home)) if home != "-" else Settings()
    catalog, landing = open_catalog(settings), open_landing(settings)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        result = load(catalog, landing, dataset, Month.parse(month))
    except LakehouseError as error:
        print(f"refused {error}", flush=True)
        sys.exit(1)
    print(result.action, flush=True)


if __name__ == "__main__":
    main()
