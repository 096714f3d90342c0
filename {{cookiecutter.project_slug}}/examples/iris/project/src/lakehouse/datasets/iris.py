"""The iris data: four measures of 150 flowers, of three species. One CSV file is the whole table."""

from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole

IRIS = Dataset(
    name="iris",
    title="Iris flowers",
    table="raw.iris",
    files="iris.csv",
    parts=Whole(),
    format=Csv(),
    # No key: two flowers may have the same measures, and the file has no number for a flower.
    columns=(
        # Centimetres, each with one decimal in the file, so they are kept exactly.
        Column("sepal_length", "decimal(4,1)", required_since=BEGINNING),
        Column("sepal_width", "decimal(4,1)", required_since=BEGINNING),
        Column("petal_length", "decimal(4,1)", required_since=BEGINNING),
        Column("petal_width", "decimal(4,1)", required_since=BEGINNING),
        Column("species", "string", required_since=BEGINNING),
    ),
)
