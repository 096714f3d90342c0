"""A table's columns, made to follow those of what replaces all its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pyiceberg.schema import Schema
from pyiceberg.table import Transaction
from pyiceberg.types import NestedField


def changes(held: Schema, wanted: Iterable[NestedField]) -> str:
    """List as text which columns were added, removed or changed; empty if they are the same in the same order."""
    old = [(f.name, f.field_type) for f in held.fields]
    new = [(f.name, f.field_type) for f in wanted]
    words = [f"+{n} {k}" for n, k in new if (n, k) not in old] + [f"-{n} {k}" for n, k in old if (n, k) not in new]
    return ", ".join(words) or ("" if old == new else "their order")


def evolve(transaction: Transaction, wanted: Sequence[NestedField]) -> None:
    """Make the table's columns the wanted ones. One that changed its type is a new column, null in old files.

    In two steps: PyIceberg takes the name of a column that goes and comes in one step for the old one when it moves it.
    """
    held = transaction.table_metadata.schema()
    types = {f.name: f.field_type for f in wanted}
    kept = {f.name for f in held.fields if types.get(f.name) == f.field_type}
    with transaction.update_schema() as update:
        for column in held.fields:
            if column.name not in kept:
                update.delete_column(column.name)
    with transaction.update_schema() as update:
        for column in wanted:
            if column.name not in kept:
                update.add_column(column.name, column.field_type, doc=column.doc)
        update.move_first(wanted[0].name)
        for before, column in pairwise(wanted):
            update.move_after(column.name, before.name)
