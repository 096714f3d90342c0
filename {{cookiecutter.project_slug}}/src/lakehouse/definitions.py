"""The one entry point that `dagster dev` and `dg` load: everything in `lakehouse/defs`, found by walking the folder."""

from __future__ import annotations

import dagster as dg

from lakehouse.settings import project_dir


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions. Steps run in one process: a process each would import dbt and Dagster again for every step."""
    found = dg.load_from_defs_folder(path_within_project=project_dir())
    return dg.Definitions.merge(found, dg.Definitions(executor=dg.in_process_executor))
