"""Pools: what only one run of Dagster may do at a time. Other runs that do it stay queued, and don't fail.

deploy/dagster/dagster.yaml gives each pool one place. A pool counts the runs of Dagster's queue only. Against the
command line, the lock of a build and the commits of Iceberg protect: a run waits for them, too.
"""

BUILD_POOL = "build"  # dbt and publishing: a publication shows what its own build tested


def table_pool(table: str) -> str:
    """The pool of those who write a table, by its name: `raw.green_trips`."""
    return table
