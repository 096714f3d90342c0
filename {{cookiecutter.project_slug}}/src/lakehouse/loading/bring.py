"""One file from its source into its table: landed, then loaded, in this process or in one of several."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pyiceberg.catalog import Catalog

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import dataset_named
from lakehouse.landing import Landed, Landing
from lakehouse.landing.land import land, notice_of_generated
from lakehouse.loading.cursor import since
from lakehouse.loading.load import load
from lakehouse.loading.orders import Options
from lakehouse.loading.result import LoadResult
from lakehouse.progress import Progress


@dataclass(frozen=True)
class Shown:
    """How a person sees what goes on: a function for warnings, and a bar for the landing and the loading of a file."""

    warn: Callable[[str], object]
    landing: Callable[[str], AbstractContextManager[Progress]]
    loading: Callable[[str], AbstractContextManager[Progress]]


def bring(
    catalog: Catalog,
    landing: Landing,
    source: str,
    file: DatasetFile,
    *,
    options: Options,
    shown: Shown,
    before_commit: Callable[[], object] = lambda: None,
) -> LoadResult:
    """Land a file if it is not landed, then load it.

    Args:
        catalog: where the tables are.
        landing: where the file is landed.
        source: `TLC_SOURCE`; a dataset that declares a source has its own.
        file: which file.
        options: what the command was given.
        shown: gets warnings and progress.
        before_commit: called before each commit, once the file is accepted.

    Raises:
        LakehouseError: as `land` and `load` do.
    """
    dataset = dataset_named(file.dataset)
    asks = options.refresh or options.full_refresh
    begin = None if options.full_refresh else since(catalog, dataset)
    kept: list[Landed] = []
    # Who refreshes does not look: a record that is damaged must not stop what replaces it.
    was_landed = not asks and dataset.source is not None and landing.find(file) is not None
    with shown.landing(file.label) as progress:
        landed = land(landing, source, file, refresh=asks, when_unreachable=kept.append, since=begin, progress=progress)
    if notice := notice_of_generated(landed, unreachable=bool(kept)):
        shown.warn(notice)
    if was_landed:
        shown.warn(f"The database was not asked, as an extract of {file.label} is landed. --refresh asks it.")
    with shown.loading(file.label) as progress:
        return load(
            catalog,
            landing,
            file,
            again=options.again,
            allow_shrink=options.allow_shrink,
            allow_strays=options.allow_strays,
            progress=progress,
            before_commit=before_commit,
        )
