"""Loading the zone lookup: a keyed reference table, replaced whole when the published file has changed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import compute, csv
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow

from lakehouse.datasets.model import normalised
from lakehouse.errors import RefusedError
from lakehouse.iceberg.commit import commit, discarding
from lakehouse.iceberg.tables import ZONE_COLUMNS, ZONES_TABLE
from lakehouse.iceberg.writer import audit, write_data_file
from lakehouse.landing import Landed, Landing
from lakehouse.landing.land import is_generated
from lakehouse.loading.acceptance import Change, check_bytes, still_current
from lakehouse.loading.conform import whole_numbers

# its stubs know no plain Python values
pc: Any = compute

_FIX = "Nothing was loaded; get the published lookup again with `lakehouse load zones --refresh`."


def load_zones(catalog: Catalog, landing: Landing, landed: Landed, change: Change) -> tuple[int | None, int]:
    """Replace the lookup in one snapshot, or do nothing if the table holds these bytes.

    Returns:
        The snapshot's id (None if unchanged) and the table's rows.

    Raises:
        RefusedError: not a zone lookup, or not the bytes that landed.
    """
    table = catalog.load_table(ZONES_TABLE)
    held = change.held_rows(table)
    if held is not None:
        return None, held
    with landing.local(landed) as path:
        content = path.read_bytes()
    check_bytes(landed, hashlib.sha256(content).hexdigest())
    zones = read_zones(content, landed.file.name)
    rows = len(zones)
    change.check_size(table, rows, landed.file.name)
    check_again = still_current(landing, landed, change, rows)
    zones = zones.append_column("source_sha256", pa.array([landed.sha256] * rows))
    zones = zones.cast(schema_to_pyarrow(table.schema(), include_field_ids=False))
    if not rows:
        return commit(catalog, ZONES_TABLE, None, change.replacement(0), check=check_again), 0
    file, written = write_data_file(table, _arrays(zones), f"zones-{landed.sha256[:8]}", None)
    with discarding(table, file):
        audit(table, file, written)
    replacement = change.replacement(rows, synthetic=is_generated(landed))
    snapshot_id = commit(catalog, ZONES_TABLE, file, replacement, check=check_again)
    return snapshot_id, rows


def _arrays(zones: pa.Table) -> Iterator[list[pa.Array[Any]]]:
    yield [column.combine_chunks() for column in zones.columns]


def read_zones(content: bytes, name: str) -> pa.Table:
    """The lookup's rows, canonical names, ids as numbers; text as published.

    Raises:
        RefusedError: no CSV, a column missing or there twice, an id that is no whole number or stands twice.
    """
    wanted = [column for column, *_ in ZONE_COLUMNS if column != "source_sha256"]
    try:
        text = csv.read_csv(io.BytesIO(content), convert_options=csv.ConvertOptions(column_types=_all_text(content)))
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{name}: this is not a CSV file ({str(error).splitlines()[0]}). {_FIX}") from error
    found = {name: [c for c in text.column_names if normalised(c) == normalised(name)] for name in wanted}
    if several := [(name, columns) for name, columns in found.items() if len(columns) > 1]:
        name_of, (one, other, *_) = several[0]
        raise RefusedError(f"{name}: the columns {one!r} and {other!r} both mean {name_of}. {_FIX}")
    missing = [name for name, columns in found.items() if not columns]
    if missing:
        raise RefusedError(
            f"{name}: the column {missing[0]!r} is missing; the file has {', '.join(text.column_names)}. {_FIX}"
        )
    zones = text.select([column for columns in found.values() for column in columns]).rename_columns(wanted)
    try:
        ids = whole_numbers(zones["location_id"].combine_chunks())
    except pa.ArrowInvalid as error:
        raise RefusedError(f"{name}: the column 'LocationID' holds what is no whole number: {error}. {_FIX}") from error
    counted = pc.value_counts(ids)
    twice = [entry["values"].as_py() for entry in counted if entry["counts"].as_py() > 1]
    if ids.null_count or twice:
        what = f"{twice[0]} twice" if twice else "no value in some row"
        raise RefusedError(f"{name}: the column 'LocationID' has {what}; ids are keys. {_FIX}")
    return zones.set_column(0, "location_id", ids)


def _all_text(content: bytes) -> dict[str, pa.DataType]:
    with csv.open_csv(io.BytesIO(content)) as reader:
        return dict.fromkeys(reader.schema.names, pa.string())
