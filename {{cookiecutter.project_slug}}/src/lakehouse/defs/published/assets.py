"""What readers see, as an asset below gold: its data version is the publication's name."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.datasets.registry import daily, monthly
from lakehouse.defs.automation.conditions import after_inputs
from lakehouse.defs.common import OWNERS, PUBLISHED
from lakehouse.defs.dbt import assets as models
from lakehouse.defs.failures import failures
from lakehouse.defs.freshness import freshness
from lakehouse.defs.partitions import ONE_RUN
from lakehouse.defs.pools import BUILD_POOL
from lakehouse.defs.raw.checks import failed_parts
from lakehouse.defs.resources import Trino
from lakehouse.errors import OvertakenError, TransformError
from lakehouse.history.publish import build_to_publish, publish_tested


@dg.asset(
    key=PUBLISHED,
    deps=sorted(key for key in models.dbt_models.keys if key.path[0] == "gold"),
    group_name="published",
    description=(
        "What readers of schema `published` see: the ref `published` of every table is at what was built and tested. "
        "If others loaded or built since then, it builds again. If somebody changed silver or gold since their tests, "
        "or a check stops it, readers see what they saw before."
    ),
    kinds={"iceberg"},
    backfill_policy=ONE_RUN,
    owners=OWNERS,
    code_version="1",
    automation_condition=after_inputs(),
    freshness_policy=freshness([*monthly(), *daily()]),
    pool=BUILD_POOL,
)
def published_gold(context: dg.AssetExecutionContext, trino: Trino) -> dg.MaterializeResult[None]:
    """Publish, and record which snapshot of each table readers see now."""
    with failures(context):
        refuse_failed_parts(context.instance)
        try:
            done = publish_tested(trino.settings(), built_by(context.instance, context.run_id))
        except OvertakenError as error:
            context.log.warning(f"{error.found} Building again.")
            build_to_publish(trino.settings(), wait=True, progress=context.log.info)
            refuse_failed_parts(context.instance)
            done = publish_tested(trino.settings())
    context.log.info(f"published {len(done.snapshots)} tables as {done.name}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(done.name),
        metadata={
            "name": done.name,
            "published_at": done.at,
            # as text: they are longer than a number in a browser may be
            "snapshots": dg.MetadataValue.json({table: str(snapshot) for table, snapshot in done.snapshots.items()}),
        },
    )


def refuse_failed_parts(instance: dg.DagsterInstance) -> None:
    """Refuse to publish a month or day whose rows a check found lost or doubled, also if another run loaded it.

    Raises:
        TransformError: names each table and its months or days.
    """
    failed = {dataset.table: failed_parts(instance, dataset) for dataset in (*monthly(), *daily())}
    if found := ", ".join(f"{part} of {table}" for table, parts in failed.items() for part in parts):
        raise TransformError(
            f"A check found rows lost or doubled in {found}. Nothing was published. The checks of these raw assets say "
            "how many. Materialize the months or days again, with `again: true` in the run config of the asset's step. "
            "Then run the job `publish`."
        )


def built_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, int]:
    """The tables of silver and gold that a run has built, each with its snapshot."""
    found = {}
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records:
        event = record.asset_materialization
        snapshot = event.metadata.get("snapshot_id") if event else None
        if event and snapshot and event.asset_key.path[0] in ("silver", "gold"):
            found[".".join(event.asset_key.path)] = int(str(snapshot.value))
    return found
