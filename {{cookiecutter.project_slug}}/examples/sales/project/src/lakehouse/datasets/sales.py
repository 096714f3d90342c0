"""Sales of our shops: each shop sends a CSV file a day. All files of a day are loaded together."""

from lakehouse.datasets.days import Day
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Daily

SALES = Dataset(
    name="sales",
    title="Sales of our shops",
    table="raw.sales",
    # The star is the shop.
    files="sales_{day}_*.csv",
    parts=Daily(since=Day(2024, 1, 5)),
    # Two lines of the till stand above the names.
    format=Csv(delimiter=";", junk_rows=2, decimal=",", thousands=".", times="%d.%m.%Y %H:%M"),
    # A typing error in one row does not keep back the others of the day. More than a quarter of bad rows refuses it.
    on_bad_rows="set aside",
    bad_share=0.25,
    columns=(
        Column("order_no", "string", (Name("Order No"),), required_since=BEGINNING),
        Column("sold_at", "timestamp", (Name("Sold at"),), required_since=BEGINNING, role="time"),
        Column("item", "string", (Name("Item"),), required_since=BEGINNING),
        Column("net_price", "decimal(12,2)", (Name("Net price"),), required_since=BEGINNING),
        Column("pieces", "long", (Name("Pieces"),), required_since=BEGINNING),
    ),
)
