"""A lakehouse of New York's taxi trips on Apache Iceberg.

From a notebook:

>>> import lakehouse
>>> lakehouse.read("gold.fct_daily_trips", as_of="2024-03-01")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["__version__", "read"]

__version__ = "0.1.0"


def read(table: str, as_of: str | None = None) -> pa.Table:
    """All rows of a table as Arrow, now or as of a version.

    Args:
        table: `schema.table`, for example `gold.fct_daily_trips`.
        as_of: a branch or tag, a time in UTC (`2024-03-01T12:00:00`), or a snapshot id.

    Raises:
        QueryError: no such table, or it has no such version.
    """
    from lakehouse.engines import open_engine  # noqa: PLC0415 - engines are slow to import
    from lakehouse.errors import QueryError  # noqa: PLC0415
    from lakehouse.settings import load_settings  # noqa: PLC0415

    schema, dot, name = table.partition(".")
    if not (dot and schema.isidentifier() and name.isidentifier()):
        raise QueryError(f"{table!r} is no table's name. Write it as gold.fct_daily_trips.")
    if as_of is not None and as_of.isdigit():
        as_of = f"{table}@{as_of}"
    engine = open_engine(load_settings())
    try:
        return engine.query(f"select * from {schema}.{name}", as_of=as_of)
    finally:
        engine.close()
