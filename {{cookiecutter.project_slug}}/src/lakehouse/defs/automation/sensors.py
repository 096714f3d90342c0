"""The sensors: of files in a folder, of versions on a site, of tables to build. LAKEHOUSE_AUTOMATION starts them."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.defs.automation import jobs
from lakehouse.defs.automation.new_files import JOBS, tick
from lakehouse.defs.automation.new_versions import tick as tick_of_versions
from lakehouse.defs.automation.start import SENSOR_STATUS
from lakehouse.defs.resources import ObjectStore, Publisher

SECONDS = 30


@dg.sensor(
    jobs=[vars(jobs)[name] for name in JOBS.values() if name in vars(jobs)],
    minimum_interval_seconds=SECONDS,
    default_status=SENSOR_STATUS,
    description="Watches the folder or bucket of TLC_SOURCE: loads a file that is new or changed, and whole.",
)
def new_files(
    context: dg.SensorEvaluationContext, publisher: Publisher, object_store: ObjectStore
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the runs that load what is new."""
    return tick(context, publisher.source, object_store.landing())


@dg.sensor(
    jobs=[vars(jobs)[name] for name in ("bronze_only", "bronze_days", "bronze_whole") if name in vars(jobs)],
    minimum_interval_seconds=SECONDS,
    default_status=SENSOR_STATUS,
    description="Loads files of the site of TLC_SOURCE that were observed in a version that is not landed: in one run, "
    "days in one of their own.",
)
def new_versions(
    context: dg.SensorEvaluationContext, publisher: Publisher, object_store: ObjectStore
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run of what is new or restated."""
    return tick_of_versions(context, publisher.source, object_store.landing())


# Once a minute: silver, gold and the report, when all loads are done. See lakehouse.defs.automation.conditions.
build_what_changed = dg.AutomationConditionSensorDefinition(
    "build_what_changed",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=2 * SECONDS,
    default_status=SENSOR_STATUS,
    description="Builds silver, gold and the report once after loads, and all else that has an automation condition.",
)
