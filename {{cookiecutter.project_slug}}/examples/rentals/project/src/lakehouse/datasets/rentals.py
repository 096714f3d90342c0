"""Rentals of films: rows of a database. After the first time, only new and changed rows are extracted."""

from datetime import timedelta

from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.sources import Query

RENTALS = Dataset(
    name="rentals",
    title="Rentals of films",
    table="raw.rentals",
    files="rentals.parquet",
    # An extract lacks the rows that have not changed. They stay in the table.
    parts=Whole(complete=False),
    # The overlap is longer than the longest transaction of the database.
    source=Query(database="RENTALS_URL", table="rental", cursor="last_update", overlap=timedelta(hours=1)),
    key=("rental_id",),
    columns=(
        Column("rental_id", "long"),
        Column("rental_date", "timestamp"),
        Column("title", "string"),
        Column("amount", "decimal(12,2)"),
        Column("return_date", "timestamp"),
        Column("last_update", "timestamp"),
    ),
)
