"""What the TLC's datasets have in common.

Sources of these declarations: the TLC's data dictionaries, and the column lists of 310 files published for 2009-01 to
2024-05.
"""

from __future__ import annotations

from datetime import timedelta

from lakehouse.datasets.model import Column, Name
from lakehouse.datasets.months import Month

# The TLC publishes a month some 50 days after its end, at times 60.
LAG = timedelta(days=50)


def amounts(since: Month, names: dict[str, tuple[Name, ...]]) -> dict[str, Column]:
    """The amounts that yellow and green have in all their months, by name; `names` are those with other spellings."""
    return {
        name: Column(
            name,
            "double",
            names.get(name, (Name(name),)),
            required_since=since,
            never_empty=name in ("fare_amount", "total_amount"),
        )
        for name in ("fare_amount", "mta_tax", "tip_amount", "tolls_amount", "total_amount")
    }
