"""dbt's models as assets and its tests as asset checks. One run of dbt builds all that a run of Dagster selects."""

# No postponed annotations here: Dagster reads them while it decorates.

import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pyiceberg.catalog import Catalog

from lakehouse.dbt_environment import build_environment, dbt_environment
from lakehouse.defs.common import PUBLISHED, table_metadata
from lakehouse.defs.dbt.events import dagster_events, described
from lakehouse.defs.dbt.manifest import manifest, start_from_parsed, tidy
from lakehouse.defs.dbt.translator import TableNames
from lakehouse.defs.failures import failures
from lakehouse.defs.partitions import ONE_RUN
from lakehouse.defs.pools import BUILD_POOL
from lakehouse.defs.resources import IcebergCatalog, Trino
from lakehouse.iceberg.catalog import service_errors, settings_of, table_names
from lakehouse.iceberg.identity import LAYERS
from lakehouse.settings import load_settings
from lakehouse.tested import Untested, begin, note, untested
from lakehouse.tested_parts import tables_read
from lakehouse.transform import BUILD_WAIT_SECONDS, ended_early, prepared, raise_failures, results_of

_BUILD = ["build", "--exclude-resource-type", "unit_test"]
# A run with this tag tests all months and days, not only those that changed.
ALL_PARTS = "lakehouse/all_parts"
_SAID = "Errors parsed from dbt logs:"  # what dagster-dbt writes before dbt's own words


@dbt_assets(
    manifest=manifest(load_settings(), state="Nothing was landed, loaded or built."),
    name="dbt_build",
    dagster_dbt_translator=TableNames(),
    backfill_policy=ONE_RUN,
    pool=BUILD_POOL,
)
def dbt_models(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, catalog: IcebergCatalog, trino: Trino
) -> Iterator[Any]:
    """Build and test the selected models.

    They have no partitions: dbt finds the months whose bytes differ between raw and silver by itself, so a run over
    many months builds once, after all of them.
    """
    settings = catalog.settings()
    target_path = settings.home / "dbt" / "runs" / f"{context.run.run_id[:8]}-{context.retry_number}"
    # A raw table that is loaded alone brings dbt's tests of it along, and no model. They run without the zone
    # lookup and beside another build, so that a load neither fails nor waits for either.
    builds = bool(context.selected_asset_keys)
    # A run waits for another build: nobody is there to start it again.
    ready = partial(prepared, settings, wait=BUILD_WAIT_SECONDS) if builds else lambda: nullcontext(catalog.open())
    variables = build_environment if builds else dbt_environment
    with failures(context), ready() as iceberg:

        def describe(built: dg.Output[Any]) -> None:
            key = context.asset_key_for_output(built.output_name)
            context.add_asset_metadata(table_metadata(iceberg.load_table(tuple(key.path))), asset_key=key)

        def noted() -> tuple[list[dict[str, Any]], tuple[str, ...]]:
            """The results of dbt, and what changed while it read."""
            if not (ended := target_path / "run_results.json").exists():
                return [], ()
            results, made_from = results_of(target_path)
            moved = note(settings, iceberg, made_from, results, begun)
            ended.unlink()  # the next run of dbt may end without any
            return results, moved

        @contextmanager
        def noting(run: DbtCliInvocation) -> Iterator[None]:
            """Note what dbt has built and tested, and name what failed as `lakehouse build` does."""
            results: list[dict[str, Any]] = []
            moved: tuple[str, ...] = ()
            try:
                try:
                    yield
                finally:
                    results, moved = noted()
            except DagsterDbtCliRuntimeError as error:
                raise_failures(results, target_path, moved)
                said = (error.description or "").partition(_SAID)[2].strip()
                raise ended_early(run.process.returncode, said.splitlines()) from None

        begun = begin(settings, iceberg, all_parts=ALL_PARTS in context.run.tags)
        parsed = manifest(load_settings())  # dbt's files may have changed while this run waited
        start_from_parsed(settings, target_path)
        if builds and (needed := _needed(context, parsed, iceberg)):
            with _environment(variables(trino.settings()) | begun.environment):
                run = dbt.cli([*_BUILD, "--select", " ".join(needed)], manifest=parsed, target_path=target_path)
                with noting(run):
                    run.wait()
            begun = begin(settings, iceberg, all_parts=ALL_PARTS in context.run.tags)
        with _environment(variables(trino.settings()) | begun.environment):
            # dagster-dbt adds what the run has selected
            run = dbt.cli([*_BUILD, *_compared(context, parsed, iceberg)], context=context, target_path=target_path)
        with noting(run):
            yield from described(dagster_events(run, trino.settings()), describe, iceberg)
        if builds and _publishes(context) and (lacking := _lacking(iceberg)):
            begun = begin(settings, iceberg, all_parts=ALL_PARTS in context.run.tags)
            with _environment(variables(trino.settings()) | begun.environment):
                run = dbt.cli([*_BUILD, "--select", " ".join(lacking)], manifest=parsed, target_path=target_path)
                with noting(run):
                    run.wait()
    tidy(target_path)


def _needed(context: dg.AssetExecutionContext, parsed: Mapping[str, Any], catalog: Catalog) -> list[str]:
    """The seeds and models that this run does not make, and that must be built before it.

    Those without a table: gold reads all of silver, and a publication has all of gold. Before a publication also those
    of silver whose SQL or input changed. Automation never asks for these: a seed has no input, nothing new has come to
    a model whose raw table never had a month, and a file of dbt is no asset.
    """
    publishes = _publishes(context)
    schemas = ("silver", "gold") if publishes else ("silver",)
    made = [
        node
        for node in parsed["nodes"].values()
        if node["resource_type"] in ("seed", "model") and node["schema"] in schemas
    ]
    tables = [node for node in made if node["config"]["materialized"] != "ephemeral"]
    others = [node for node in tables if _key(node) not in context.selected_asset_keys]
    with service_errors(catalog):
        missing = [node["name"] for node in others if not catalog.table_exists((node["schema"], node["name"]))]
    found = _untested(catalog) if publishes else None
    stale = found.models if found else ()
    return missing + [
        node["name"]
        for node in others
        if node["schema"] == "silver" and node["name"] in stale and node["name"] not in missing
    ]


def _compared(context: dg.AssetExecutionContext, parsed: Mapping[str, Any], catalog: Catalog) -> list[str]:
    """As words for dbt, the selected tests that read a table which is there, and which this run does not make.

    dbt leaves such a test out if it is not named: `indirect_selection: buildable`. It stays out if a table is not there
    yet, or is made of what this run makes: it would be compared as it was before.
    """
    nodes, chosen = parsed["nodes"], {key.name for key in context.selected_asset_check_keys}
    made = {name for name, node in nodes.items() if _key(node) in context.selected_asset_keys}
    later = _made_of(parsed, made)
    compared = []
    with service_errors(catalog):
        for test, node in nodes.items():
            if node["resource_type"] != "test" or node["name"] not in chosen:
                continue
            others = {name for name in tables_read(nodes, test) if name in nodes} - made
            if (
                others
                and others.isdisjoint(later)
                and all(catalog.table_exists((nodes[name]["schema"], nodes[name]["name"])) for name in others)
            ):
                compared.append(node["name"])
    return ["--select", " ".join(compared)] if compared else []


def _made_of(parsed: Mapping[str, Any], names: AbstractSet[str]) -> set[str]:
    """All nodes of dbt that are made of these, at any distance."""
    found: set[str] = set()
    while names := {child for name in names for child in parsed["child_map"].get(name, ())} - found:
        found |= names
    return found


def _lacking(catalog: Catalog) -> list[str]:
    """The models and tests that a publication still lacks after this run: those whose SQL changed, for example.

    Nothing if a table is not as dbt left it: that is for a person to look at.
    """
    found = _untested(catalog)
    return [*found.models, *found.tests] if found and not found.changed else []


def _untested(catalog: Catalog) -> Untested | None:
    with service_errors(catalog):
        tables = [catalog.load_table(name) for name in table_names(catalog) if name.split(".")[0] in LAYERS]
    return untested(settings_of(catalog), tables)


def _publishes(context: dg.AssetExecutionContext) -> bool:
    return PUBLISHED in context.job_def.asset_layer.executable_asset_keys


def _key(node: Mapping[str, Any]) -> dg.AssetKey:
    return dg.AssetKey([node["schema"], node["name"]])


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Make `variables` the whole environment while dbt is started: dagster-dbt passes on what it finds there."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
