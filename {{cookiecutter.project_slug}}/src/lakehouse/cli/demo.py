"""`lakehouse demo`: from files to time travel in one command.

The one place that takes generated months, and only where the publisher can't be asked. Three rules:

- Real and generated months never mix: with a real month here, nothing is generated.
- Every run asks the publisher again for what was generated. Once all of it can be had, all of it is replaced.
- It says so: here, in the snapshot's summary, in `lakehouse months` and in the report.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lakehouse.cli.load import run_build, summary, write_report
from lakehouse.cli.look import show_months, show_query
from lakehouse.cli.terminal import download_bar, err, out, rows_bar
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import dataset_named
from lakehouse.dbt_start import Dbt
from lakehouse.engines import open_engine
from lakehouse.errors import NotPublishedError, UnreachableError
from lakehouse.history.history import loaded as loaded_months
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import Landing, landing_aside, open_landing
from lakehouse.landing.land import generated, is_trips, land
from lakehouse.landing.record import GENERATED, is_generated
from lakehouse.landing.store import LOCK
from lakehouse.leftovers import remove_staged
from lakehouse.loading.load import load
from lakehouse.locks import held
from lakehouse.settings import Settings
from lakehouse.sources.patience import Patience
from lakehouse.synthetic.generate import write_month, write_zones

ROWS = {"yellow": 200_000, "green": 60_000}
LAG_MONTHS = 2  # the TLC publishes a month about two months after its end
# A person who tries this on a train should not wait for minutes.
DEMO_PATIENCE = Patience(connect=3.0, silence=15.0, tries=3, connect_tries=2, longest_wait=5.0)
LOOKUP = DatasetFile("zones")
KILLED_DEMO = timedelta(minutes=1)  # a demo that runs holds a lock from its folder's first second on


def bring(
    settings: Settings, landing: Landing, wanted: Sequence[DatasetFile], patience: Patience = DEMO_PATIENCE
) -> dict[DatasetFile, bool]:
    """Land `wanted` and the zone lookup: published files, or all generated where the publisher can't be asked.

    Returns:
        What is to be loaded: `wanted`, the zones, and the generated months of earlier runs that were just replaced;
        True for those that take a generated file's place.

    Raises:
        UnreachableError: the publisher can't be asked, and real months are here, with which nothing generated is mixed.
        SourceError: the publisher can be asked, and does not give a file.
    """
    made = {landed.file for landed in generated(landing)}
    asked = [LOOKUP, *wanted, *sorted(made - {LOOKUP, *wanted}, key=lambda file: file.name)]
    absent = [file for file in asked if file in made or landing.find(file) is None]
    if not absent:
        return dict.fromkeys(asked, False)
    landing.staging.mkdir(parents=True, exist_ok=True)
    remove_staged(landing.staging, KILLED_DEMO, "demo-*")
    with (
        tempfile.TemporaryDirectory(prefix="demo-", dir=landing.staging) as folder,
        held(Path(folder) / LOCK, "The demo's folder"),
    ):
        try:
            # First all of them aside: the landing zone gets the whole set, or nothing of it.
            _fetch(landing_aside(Path(folder)), settings.tlc_source, absent, patience)
        except UnreachableError as error:
            _generate(settings, landing, [file for file in absent if file not in made], Path(folder), error)
            return dict.fromkeys(asked, False)
        for file in absent:
            landed = land(landing, folder, file, together=absent)
            replaced = ", in place of the generated one" if file in made else ""
            _say(f"{file.label}: {landed.size:,} bytes from {landed.origin}{replaced}")
    return {file: file in made for file in asked}


def _fetch(aside: Landing, source: str, files: Sequence[DatasetFile], patience: Patience) -> None:
    """Fetch every file.

    Raises:
        UnreachableError: one can't be asked for; an answer that the zone lookup does not exist is not the TLC's own.
    """
    for file in files:
        with download_bar(f"fetching {file.label}", quiet=False) as progress:
            try:
                land(aside, source, file, progress=progress, patience=patience)
            except NotPublishedError as error:
                if file == LOOKUP and source.startswith(("http://", "https://")):
                    raise UnreachableError(str(error)) from error
                raise


def _generate(
    settings: Settings, landing: Landing, files: Sequence[DatasetFile], folder: Path, reason: UnreachableError
) -> None:
    """Land generated files, and say so.

    Raises:
        UnreachableError: real months are here.
    """
    if real := _real_months(settings, landing):
        raise UnreachableError(
            f"{reason} Generated months did not take their place: this lakehouse has real months of the publisher "
            f"({', '.join(real)}), and the two are never mixed. Nothing was changed."
        ) from reason
    for file in files:
        _could_be_published(file, reason)
    err.print(
        f"\nThe publisher can't be reached: {reason}\n\nThis demo takes GENERATED months instead. They look like "
        "taxi trips and are none: every command marks them as synthetic. The next `make demo` "
        "replaces them as soon as it can download the published ones.\n",
        markup=False,
        soft_wrap=True,
    )
    for file in files:
        path = folder / file.name
        if isinstance(file.part, Month):
            write_month(path, file.dataset, file.part, ROWS[file.dataset])
        else:
            write_zones(path)
        landing.put(file, path, f"{GENERATED}{file.path}")
        _say(f"{file.label}: generated")


def _could_be_published(file: DatasetFile, reason: Exception) -> None:
    """Generate nothing that no published file could ever replace.

    Raises:
        NotPublishedError: the month is before the dataset's first, or too recent, or the dataset has no generator.
    """
    if file.part is None:
        return
    if file.dataset not in ROWS:
        raise NotPublishedError(
            f"The publisher can't be asked, and {file.label} can't be generated: the demo generates "
            f"{' and '.join(ROWS)} only. Nothing was landed. Load its own file: `lakehouse load {file.label}`. "
            f"Why the publisher can't be asked: {reason}"
        )
    newest = Month.of(datetime.now(UTC).date())
    for _ in range(LAG_MONTHS):
        newest = Month(newest.year - 1, 12) if newest.month == 1 else Month(newest.year, newest.month - 1)
    first = dataset_named(file.dataset).first_part
    if not first.first_day <= file.part.first_day <= newest.first_day:
        raise NotPublishedError(
            f"The publisher can't be asked, and {file.label} can't be generated: "
            f"{dataset_named(file.dataset).title} are published from {first} to {newest}, as far as is known. Nothing "
            f"was landed. Choose other months, such as `lakehouse demo {file.dataset} 2024-01 2024-02`. Why the "
            f"publisher can't be asked: {reason}"
        )


def _real_months(settings: Settings, landing: Landing) -> list[str]:
    """The published months that are landed or loaded here."""
    listed = landing.listing()
    made = {landed.sha256 for landed in listed if is_generated(landed)}
    real = {x.file.label for x in listed if is_trips(x.file) and not is_generated(x)}
    engine = open_engine(settings)
    try:
        loaded = loaded_months(engine)
    finally:
        engine.close()
    months = [row for row in loaded if is_trips(row.file)]
    real |= {row.file.label for row in months if not row.synthetic and row.source_sha256 not in made}
    return sorted(real)


def demo(settings: Settings, dataset: str, months: Sequence[Month]) -> None:
    """Land, load, build, report; then read the raw table as each month's load left it.

    Raises:
        LakehouseError: the message says what to do.
    """
    wanted = [DatasetFile(dataset_named(dataset).name, month) for month in months]
    landing, catalog = open_landing(settings), open_catalog(settings)
    with Dbt(settings) as dbt:
        dbt.start_if_likely()
        for file, replaces in bring(settings, landing, wanted).items():
            with rows_bar(f"loading {file.label}", quiet=False) as progress:
                # A published month may well be smaller than the generated one that it replaces.
                result = load(catalog, landing, file, allow_shrink=replaces, progress=progress)
            _say(result.line)
        _say(summary(run_build(dbt)))
    snapshots, dashboard = write_report()
    show_months()
    _travel(settings, dataset, {str(month) for month in months})
    _say(f"\nOpen in a browser:\n  {dashboard}: what the trips say\n  {snapshots}: where each row comes from")


def _travel(settings: Settings, dataset: str, months: set[str]) -> None:
    """The same question to the table as each of these months' loads left it, as commands that can be typed again."""
    engine = open_engine(settings)
    try:
        loads = [row for row in loaded_months(engine) if row.part in months and row.dataset == dataset]
    finally:
        engine.close()
    table = dataset_named(dataset).table
    statement = f"select count(*) as trips, min(file_month) as from_month, max(file_month) as to_month from {table}"
    for row in sorted(loads, key=lambda row: str(row.loaded_at)):
        if row.snapshot_id is not None:
            as_of = f"{table}@{row.snapshot_id}"
            _say(f'\n$ lakehouse sql "{statement}" --as-of {as_of}')
            show_query(statement, as_of=as_of)


def _say(text: Any) -> None:
    out.print(text, markup=False, soft_wrap=True)
