"""What the publisher has, as assets that are observed: a data version for each file."""

# No postponed annotations here: Dagster reads them while it decorates.

import warnings
from datetime import datetime

import dagster as dg
from dagster._core.definitions.external_asset import create_external_asset_from_source_asset

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.defs.common import source_key
from lakehouse.defs.failures import failures
from lakehouse.defs.partitions import partition_key, partitions_of
from lakehouse.defs.resources import Publisher
from lakehouse.defs.source.observed import NOT_PUBLISHED, newest, now, observable, observations
from lakehouse.errors import UnreachableError
from lakehouse.sources.versions import AGAIN, files_to_ask, is_site, versions


def files_of(dataset: Dataset, at: datetime) -> list[DatasetFile]:
    """All files that the source may have at a time, the oldest first."""
    if isinstance(dataset.parts, Whole):
        return [DatasetFile(dataset.name)]
    partitions = partitions_of(dataset)
    keys = partitions.get_partition_keys(current_time=at) if partitions else []
    parts = [dataset.parts.kind.parse(key) for key in keys]
    return [DatasetFile(dataset.name, part) for part in parts if dataset.can_exist(part, at.date())]


def look_at(
    context: dg.OpExecutionContext, dataset: Dataset, source: str
) -> dg.DataVersion | dg.DataVersionsByPartition:
    """Ask for the files whose turn it is.

    A part that the source has no more keeps its last version: nothing depends on what was removed.

    Raises:
        UnreachableError: the source could not be asked for any of them.
        SourceError: an answer makes no sense.
    """
    at = now()
    files = files_of(dataset, at)
    by_key = {partition_key(file.part) if file.part else None: file for file in files}
    seen = observations(context.instance, dataset, since=at - AGAIN)
    asked = {by_key[one.partition]: one.at for one in reversed([*seen]) if one.partition in by_key}
    chosen = files_to_ask(files, asked, at) if is_site(source) and not dataset.bundled else files
    keys = {file: key for key, file in by_key.items()}
    before = {file: found for file in chosen if (found := newest(context.instance, dataset, keys[file]))}
    known = {file: one.version for file, one in before.items() if one.version != NOT_PUBLISHED}
    answers: dict[DatasetFile, str] = {}
    try:
        for file, version in versions(source, chosen, known):
            answers[file] = version or known.get(file, NOT_PUBLISHED)
    except UnreachableError as error:
        if not answers:
            raise
        context.log.warning(f"{error} The other {len(chosen) - len(answers)} files are asked for the next time.")
    context.log.info(f"{dataset.name}: asked for {len(answers)} of {len(files)} files")
    if isinstance(dataset.parts, Whole):
        return dg.DataVersion(next(iter(answers.values())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class is beta, too
        return dg.DataVersionsByPartition({keys[file] or "": version for file, version in answers.items()})


def source_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of what the publisher has of a dataset."""

    def source(context: dg.OpExecutionContext, publisher: Publisher) -> dg.DataVersion | dg.DataVersionsByPartition:
        with failures(context):
            return look_at(context, dataset, publisher.source)

    with warnings.catch_warnings():
        # Dagster calls observable assets beta, and asks them by a name that it calls old. Its version is pinned.
        warnings.simplefilter("ignore")
        observable_asset = dg.observable_source_asset(
            key=source_key(dataset),
            group_name=dataset.group or "source",
            description=f"{dataset.title} as published: the version of each file, by ETag, Last-Modified or hash. "
            "The newest files are asked for each time, the others about once a week.",
            partitions_def=partitions_of(dataset),
        )(source)
        asset = create_external_asset_from_source_asset(observable_asset)
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(owners=[dataset.owner], kinds={dataset.format.suffix}, code_version="1")
    )


source_assets = [source_asset(dataset) for dataset in observable()]
