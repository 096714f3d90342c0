"""The one entry point that `dagster dev` and `dg` load: everything in `lakehouse/defs`, found by walking the folder."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._record import replace

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
    ready = replace(found, assets=[_in_one_run(asset) for asset in found.assets or []])
    return dg.Definitions.merge(ready, dg.Definitions(executor=dg.in_process_executor))


def _in_one_run(asset: Any) -> Any:
    """The asset; one without partitions and without a policy takes a range of months as one run, like all others.

    One asset without a policy would turn a range of months into a run for each of them, in each job that it is in.
    """
    if not isinstance(asset, dg.AssetsDefinition) or not asset.is_materializable:
        return asset
    if asset.backfill_policy or asset.partitions_def:
        return asset
    return asset.with_attributes(backfill_policy=dg.BackfillPolicy.single_run())
