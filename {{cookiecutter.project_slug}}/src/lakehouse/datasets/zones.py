"""The zone lookup: borough, zone and service zone of each location id."""

from __future__ import annotations

from dataclasses import replace

from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Whole

_COLUMNS = (
    Column("location_id", "long", (Name("LocationID"),), doc="The taxi zone's id, 1 to 265."),
    Column("borough", "string", (Name("Borough"),)),
    Column("zone", "string", (Name("Zone"),), doc="Its name."),
    Column("service_zone", "string"),
)

ZONES = Dataset(
    name="zones",
    title="The zone lookup",
    table="raw.taxi_zones",
    files="taxi_zone_lookup.csv",
    folder="misc",
    parts=Whole(),
    format=Csv(),
    key=("location_id",),
    columns=tuple(replace(column, required_since=BEGINNING) for column in _COLUMNS),
)
