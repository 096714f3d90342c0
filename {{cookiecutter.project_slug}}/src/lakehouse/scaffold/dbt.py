"""The staging model of a guessed dataset, and the yml that declares its source, its columns and their tests."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lakehouse.datasets.formats import Parquet
from lakehouse.datasets.model import Column
from lakehouse.scaffold.guess import Guess

_SQL_TYPES = {
    "long": "bigint",
    "string": "varchar",
    "timestamp": "timestamp(6)",
    "timestamptz": "timestamp(6) with time zone",
    "binary": "varbinary",
}


def sql_type(declared: str) -> str:
    """A column's type in the SQL of both engines."""
    return _SQL_TYPES.get(declared, declared)


def model_name(guess: Guess) -> str:
    """The staging model: `stg_orders`."""
    return f"stg_{guess.dataset.landing_key}"


def staging_sql(guess: Guess) -> str:
    """The model: each column of the raw table. Of a text file, text without blanks around it, and null for none."""
    dataset = guess.dataset
    part = dataset.parts.column
    head = f"{{{{ config(partition_by='{part}') }}}}\n\n" if part else ""
    lines = [*_row_columns(guess)]
    lines += [_selected(column, not isinstance(dataset.format, Parquet)) for column in _in_silver(guess)]
    if dataset.key:
        lines.append("source_sha256")
    columns = ",\n        ".join(lines)
    return f"""{head}with

published as (
    select * from {{{{ source('raw', '{dataset.landing_key}') }}}}
),

final as (
    select
        {columns}
    from published
)

select * from final
"""


def _row_columns(guess: Guess) -> list[str]:
    """What a row without a key is known by."""
    part = guess.dataset.parts.column
    return [] if guess.dataset.key else [*([part] if part else []), "file_row", "source_sha256"]


def _in_silver(guess: Guess) -> list[Column]:
    """The columns that the model takes over: dbt writes no lists to Iceberg on `embedded`."""
    return [column for column in guess.dataset.columns if column.kind != "list"]


def _selected(column: Column, is_text: bool) -> str:
    return f"nullif(trim({column.name}), '') as {column.name}" if is_text and column.type == "string" else column.name


def staging_yml(guess: Guess) -> str:
    """The yml beside the model."""
    return "\n".join(_yml(guess)) + "\n"


def _yml(guess: Guess) -> Iterator[str]:
    dataset = guess.dataset
    table = dataset.landing_key
    yield from (
        "version: 2",
        "",
        "sources:",
        "  - name: raw",
        "    description: Bronze; the published files, typed. Loaded by `lakehouse load`. Never written by dbt.",
        "    schema: raw",
        "    tables:",
        f"      - name: {table}",
    )
    yield f"        description: {_text(f'{dataset.title} as published, one row per row of the file.')}"
    yield "        columns:"
    for name in _row_columns(guess) or ["source_sha256"]:
        yield from _column(name, _ROW_TYPES[name], _ROW_DOCS[name], ["not_null"], 10)
    yield from ("", "models:", f"  - name: {model_name(guess)}")
    yield f"    description: {_text(f'{dataset.title}, one row per row of {dataset.table}.')}"
    yield from ("    data_tests:", "      - columns_as_declared")
    together = list(dataset.key) if len(dataset.key) > 1 else _row_columns(guess)[:-1]
    if len(together) > 1:
        yield from _test("unique_together", f"columns: [{', '.join(together)}]")
    if dataset.parts.column:
        yield "      - same_files_as:"
        yield "          arguments:"
        yield f"            source_relation: source('raw', '{table}')"
        if dataset.parts.column != "file_month":
            yield f"            part: {dataset.parts.column}"
    yield "    columns:"
    for name in _row_columns(guess):
        tests = ["not_null", "unique"] if [name] == together else ["not_null"]
        yield from _column(name, _ROW_TYPES[name], _ROW_DOCS[name], tests, 6)
    for column in _in_silver(guess):
        tests = ["not_null"] if column.name in guess.filled else []
        tests += ["unique"] if dataset.key == (column.name,) else []
        called = column.published_name(None)
        doc = f"The column {called!r} of the file." if called != column.name else "As in the file."
        yield from _column(column.name, sql_type(column.type), doc, tests, 6)
    if dataset.key:
        yield from _column("source_sha256", "varchar", _ROW_DOCS["source_sha256"], ["not_null"], 6)


def _test(name: str, arguments: str) -> list[str]:
    return [f"      - {name}:", "          arguments:", f"            {arguments}"]


_ROW_TYPES = {"file_month": "date", "file_date": "date", "file_row": "bigint", "source_sha256": "varchar"}
_ROW_DOCS = {
    "file_month": "First day of the month whose file the row came in.",
    "file_date": "The day whose file the row came in.",
    "file_row": "The row's position in that file, from 0.",
    "source_sha256": "SHA-256 of the file.",
}


def _column(name: str, kind: str, doc: str, tests: list[str], indent: int) -> Iterator[str]:
    start = " " * indent
    yield f"{start}- name: {name}"
    yield f"{start}  data_type: {kind}"
    yield f"{start}  description: {_text(doc)}"
    if tests:
        yield f"{start}  data_tests:"
        yield from (f"{start}    - {test}" for test in tests)


def _text(text: str) -> str:
    """A description in yml. dbt renders Jinja in it, so braces of a column's name are kept apart."""
    for sign in "{%#}":
        text = text.replace(f"{{{sign}", f"{{ {sign}").replace(f"{sign}}}", f"{sign} }}")
    simple = all(sign.isalnum() or sign in " ,.-_'()" for sign in text) and text[:1].isalpha()
    return text if simple and "- " not in text else json.dumps(text, ensure_ascii=False)
