"""The one entry point that `dagster dev` and `dg` load: everything in `lakehouse/defs`, found by walking the folder."""

from __future__ import annotations

import dagster as dg

from lakehouse.errors import LakehouseError
from lakehouse.settings import project_dir


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions. Steps run in one process: a process each would import dbt and Dagster again for every step."""
    try:
        found = dg.load_from_defs_folder(path_within_project=project_dir())
    except LakehouseError as error:
        # The message says what is wrong. Without this, Dagster shows 80 lines of imports below it.
        raise error.with_traceback(None) from None
    return dg.Definitions.merge(found, dg.Definitions(executor=dg.in_process_executor))
