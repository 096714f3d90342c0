"""Weather in New York: a CSV file a day, with a reading each three hours."""

from lakehouse.datasets.days import Day
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Daily

WEATHER = Dataset(
    name="weather",
    title="Weather in New York",
    table="raw.weather",
    files="weather_{day}.csv",
    parts=Daily(since=Day(2024, 1, 1)),
    format=Csv(),
    columns=(
        # Local time, as the trips have it, so that both have the same days.
        Column("measured_at", "timestamp", required_since=BEGINNING, role="time"),
        Column("temperature", "decimal(4,1)", required_since=BEGINNING, doc="Degrees Celsius."),
        Column("rain", "decimal(5,1)", required_since=BEGINNING, doc="Millimetres since the last reading."),
    ),
)
