"""The rules of a declaration. `problem` finds the first rule that a dataset breaks; registry.py refuses the dataset.

What refuses a file is in loading; its `__init__.py` has the list.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import astuple
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from string import Formatter
from types import UnionType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse.datasets.days import Day
from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet, Reader
from lakehouse.datasets.model import STAR, Column, Dataset, Name, normalised
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.sources import CURSOR_TYPES, Query
from lakehouse.datasets.types import FALSE, MOST_DIGITS, TRUE, TYPES, is_type

_NAME = re.compile(r"[a-z0-9_]+")
_TABLE = re.compile(r"raw\.[a-z][a-z0-9_]*")
_TYPES_OF_ROLE = {
    "pickup": ("timestamp",),
    "dropoff": ("timestamp",),
    "time": ("timestamp", "timestamptz", "date"),
    "zone": ("long",),
    "count": ("long",),
}
# Two doubles that look the same may differ; bytes are compared whole, and have no order that people know.
NO_KEY = ("double", "binary", "list")
# Columns that the loader adds to those of a declaration.
ADDED = {"file_month", "file_date", "file_row", "source_sha256"}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_OWNER = re.compile(r"team:\S(.*\S)?|\w[\w.%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", re.ASCII)
_GROUP = re.compile(r"\w+(/\w+)*", re.ASCII)
_SIGNS = "lower-case letters, digits and underscores"

# The Python type of a field, and how to write the field. A comma or a pair of brackets is easily forgotten.
_TEXT, _MONTH, _DAY = (str, '"…"'), (Month, "Month(2024, 1)"), (Day, "Day(2024, 1, 5)")
_NUMBER = (int, "1")
_LAG = (timedelta, "timedelta(days=50)")
_PART = (Month | Day, "Month(2024, 1)")
_FIELDS: dict[type, dict[str, tuple[type | UnionType, str]]] = {
    Dataset: {
        **dict.fromkeys(("name", "title", "table", "files", "folder"), _TEXT),
        "parts": (Monthly | Daily | Whole, "Monthly(since=Month(2024, 1)), Daily(since=Day(2024, 1, 5)) or Whole()"),
        "format": (Format, 'Parquet(), Csv(…), JsonLines(…), Excel(…) or Reader("module:function")'),
        "key": (tuple, '("…",)'),
        "owner": (str, '"team:data"'),
        "group": (str, '"sales"'),
        "bad_share": (float | int, "0.01"),
        "source": (Query | None, 'Query(database="RENTALS_URL", table="public.rental")'),
        "columns": (tuple, "(Column(…), Column(…))"),
    },
    Monthly: {"since": _MONTH, "lag": _LAG},
    Daily: {"since": _DAY, "lag": _LAG},
    Column: {
        "name": _TEXT,
        "names": (tuple, '(Name("…"),)'),
        "required_since": (Month | Day | None, "Month(2024, 1)"),
        "required_until": _PART,
        "zone": (str, '"Europe/Berlin"'),
        "nulls": (tuple | None, '("NA",)'),
        "role": (str, '"time"'),
    },
    Name: {"text": _TEXT, "since": _PART, "until": _PART},
    Csv: dict.fromkeys(
        ("delimiter", "quote", "encoding", "decimal", "thousands", "times", "dates", "compression"), _TEXT
    )
    | {"junk_rows": _NUMBER, "footer_rows": _NUMBER, "nulls": (tuple, '("NA",)')},
    JsonLines: dict.fromkeys(("encoding", "times", "dates", "compression"), _TEXT),
    Excel: {"sheet": _TEXT, "header_row": _NUMBER, "footer_rows": _NUMBER},
    Reader: {"function": (str, '"module:function"')},
    Query: dict.fromkeys(("database", "table", "sql", "cursor"), _TEXT)
    | {"overlap": (timedelta | int | Decimal | None, "timedelta(hours=1), or a number")},
}


def problem(dataset: Dataset) -> str | None:
    """Say what is wrong with a declaration and how to correct it; None if it breaks no rule."""
    return next(_problems(dataset), None)


def _problems(dataset: Dataset) -> Iterator[str]:
    """Every broken rule. The later rules rely on the earlier ones, so only the first problem counts."""
    yield from _wrong_fields(dataset)
    yield from _wrong_names(dataset)
    for column in dataset.columns:
        yield from _wrong_types(column)
    yield from _wrong_columns(dataset)
    if isinstance(dataset.format, Csv | JsonLines | Excel):
        yield from _wrong_in_text(dataset.columns, dataset.format)
    if not isinstance(dataset.format, Csv) and (named := [c.name for c in dataset.columns if c.nulls is not None]):
        yield f"the column {named[0]!r} has nulls, and only a CSV file has words for no value. Remove nulls."
    yield from _wrong_files(dataset)
    yield from _wrong_format(dataset.format)
    yield from _wrong_in_dagster(dataset)
    yield from _wrong_bad_rows(dataset)
    if dataset.source:
        yield from _wrong_query(dataset, dataset.source)


def _wrong_fields(dataset: Dataset) -> Iterator[str]:
    yield from _fields_of(dataset, "")
    yield from _fields_of(dataset.parts, "parts: ")
    yield from _fields_of(dataset.format, "format: ")
    yield from _fields_of(dataset.source, "source: ")
    for column in dataset.columns:
        yield from _entry("columns", column, Column)
        yield from _fields_of(column, f"the column {column.name!r}: ")
        for name in column.names:
            yield from _entry(f"the column {column.name!r}: names", name, Name)
            yield from _fields_of(name, f"the column {column.name!r}: names: ")


def _fields_of(owner: object, where: str) -> Iterator[str]:
    for field, (wanted, example) in _FIELDS.get(type(owner), {}).items():
        value = getattr(owner, field)
        if not isinstance(value, wanted):
            yield f"{where}{field} is {_kind(value)}. Write {field}={example}."
        elif isinstance(value, Month | Day) and not _is_there(value):
            numbers = ", ".join(map(repr, astuple(value)))
            word, right = ("month", _MONTH[1]) if isinstance(value, Month) else ("day", _DAY[1])
            yield f"{where}{field} is {type(value).__name__}({numbers}), which is no {word}. Write {right}."


def _is_there(part: Month | Day) -> bool:
    """Whether a calendar has this month or day."""
    try:
        return part.first_day <= part.last_day
    except (ValueError, TypeError, OverflowError):
        return False


def _entry(where: str, value: object, wanted: type) -> Iterator[str]:
    if not isinstance(value, wanted):
        yield f"{where} has an entry that is {_kind(value)}. Write each entry as {wanted.__name__}(…)."


def _kind(value: object) -> str:
    return f"{value.__name__} without brackets" if isinstance(value, type) else f"of the type {type(value).__name__}"


def _wrong_names(dataset: Dataset) -> Iterator[str]:
    if not _NAME.fullmatch(dataset.name):
        yield f"the name {dataset.name!r} is invalid. Use only {_SIGNS}."
    if not _TABLE.fullmatch(dataset.table):
        yield (
            f"the table {dataset.table!r} is invalid. Write raw.NAME; NAME has only {_SIGNS}, and begins with a letter."
        )


def _wrong_types(column: Column) -> Iterator[str]:
    where = f"the column {column.name!r}"
    if not is_type(column.type):
        decimal = f" In a decimal(P,S), P is 1 to {MOST_DIGITS}, and S is 0 to P: decimal(12,2)."
        yield (
            f"{where} has the type {column.type!r}. Use one of {', '.join(TYPES)}."
            f"{decimal if str(column.type).startswith('decimal') else ''}"
        )
    if column.role and column.role not in _TYPES_OF_ROLE:
        roles = ", ".join(_TYPES_OF_ROLE)
        yield f"{where} has the role {column.role!r}. Use one of {roles}, or leave the role out."
    if column.role and column.type not in (wanted := _TYPES_OF_ROLE[column.role]):
        yield (
            f"{where} has the role {column.role} and the type {column.type}. "
            f"Declare it as {_either(wanted)}, or remove the role."
        )
    if column.zone and column.type != "timestamptz":
        yield f"{where} has a zone and the type {column.type}. Declare it as timestamptz, or remove the zone."
    if column.zone and not _is_zone(column.zone):
        yield f"{where} has the zone {column.zone!r}, which nobody knows. Write a name such as Europe/Berlin or UTC."


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _wrong_columns(dataset: Dataset) -> Iterator[str]:
    seen: dict[str, str] = {}
    for column in dataset.columns:
        if other := seen.get(normalised(column.name)):
            yield (
                f"the columns {other!r} and {column.name!r} have one name; case and underscores do not count. "
                "Rename or remove one."
            )
        seen[normalised(column.name)] = column.name
    for name in dataset.key:
        if name not in seen.values():
            known = ", ".join(seen.values())
            yield f"the key has {name!r}, and no column has this name. Use names of columns: {known}."
    for column in dataset.columns:
        if column.name in dataset.key and column.kind in NO_KEY:
            yield f"the key has {column.name!r}, a {column.type}. Use columns of any type but {_either(NO_KEY)}."
    if len(times := [column.name for column in dataset.columns if column.role in ("pickup", "time")]) > 1:
        yield (
            f"the columns {', '.join(times)} each have the role pickup or time, and only one column may. Keep the role "
            "on the column whose time decides the month or day, and remove it from the others."
        )
    if added := sorted(ADDED & set(seen.values())):
        yield f"the column {added[0]!r} has a name that the loader adds itself. Rename it."
    if dataset.order is not None and (not dataset.key or dataset.order in dataset.key):
        yield (f"order={dataset.order!r} says which of several rows with one key counts. Declare a key without it.")
    if dataset.order is not None and dataset.order not in seen.values():
        yield f"the order is {dataset.order!r}, and no column has this name. Use one of {', '.join(seen.values())}."
    if not dataset.parts.complete and not dataset.key:
        yield "it is declared as Whole(complete=False), and has no key to find its rows by. Declare the key."
    if dataset.key and not isinstance(dataset.parts, Whole):
        yield f"it has a key, and comes by the {dataset.parts.word}. Declare parts=Whole(), or leave the key out."


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _wrong_in_text(columns: tuple[Column, ...], form: Format) -> Iterator[str]:
    """What a file of text can't hold, or its form of times does not say."""
    times = form.times if isinstance(form, Csv | JsonLines) else ""
    for column in columns:
        where = f"the column {column.name!r}"
        if isinstance(form, Csv):
            yield from _wrong_nulls(f"{where}: ", column.nulls or (), form)
            nulls = form.nulls if column.nulls is None else column.nulls
            if column.type == "boolean" and (words := [word for word in nulls if str(word).lower() in TRUE + FALSE]):
                yield (
                    f"{where} is boolean, where {words[0]!r} means true or false, and nulls has it. Remove it from "
                    "nulls, or declare the column as string."
                )
        if column.type == "binary" or (column.kind == "list" and column.element.type == "binary"):
            text = "list(string)" if column.kind == "list" and isinstance(form, JsonLines) else "string"
            yield f"{where} is {column.type}, and the {form.title} has only text. Declare it as {text}."
        if column.kind == "list" and not isinstance(form, JsonLines):
            yield f"{where} is a list, and the {form.title} has none. Declare it as string."
        if column.type in ("timestamp", "timestamptz") and "%f" in times and "%z" not in times:
            yield (
                f"{where} is {column.type}, and times={times!r} has %f, which is read only beside %z. Declare the "
                "column as string, and convert it in the staging model."
            )
        if column.type == "timestamp" and "%z" in times:
            yield (f"{where} is timestamp, and times={times!r} has a zone. Declare it as timestamptz, or remove %z.")
        if column.type == "timestamptz" and times and ("%z" in times) == bool(column.zone):
            zone = f"{where} is timestamptz, and times={times!r} has"
            yield (
                f"{zone} a zone. Remove the column's zone."
                if column.zone
                else (f'{zone} no zone. Write %z in it, or say where the clocks stand: zone="Europe/Berlin".')
            )


def _wrong_files(dataset: Dataset) -> Iterator[str]:
    files = f"files={dataset.files!r}"
    try:
        pieces = list(Formatter().parse(dataset.files))
    except ValueError as error:
        yield f"{files} is invalid: {error}. Write {{month}} for the month or {{day}} for the day, and no other braces."
        return
    found = [piece[1] for piece in pieces if piece[1] is not None]
    if dataset.bundled:
        yield from _wrong_bundle(dataset, files, sum(piece[0].count(STAR) for piece in pieces))
    if isinstance(dataset.parts, Whole):
        if found:
            yield f"{files} has a placeholder, and a dataset of Whole() has no months. Write the name of its one file."
    else:
        yield from _wrong_placeholder(dataset, dataset.parts, files, found)
    if isinstance(dataset.format, Parquet) and not dataset.files.lower().endswith(".parquet"):
        yield f"{files} does not end in .parquet. Correct the name, or declare another format, such as format=Csv(…)."
    if isinstance(dataset.format, Excel) and not dataset.files.lower().endswith((".xlsx", ".xlsm")):
        yield f"{files} does not end in .xlsx or .xlsm. Correct the name. Save other Excel files as xlsx first."


def _wrong_placeholder(dataset: Dataset, parts: Monthly | Daily, files: str, found: list[str]) -> Iterator[str]:
    word, form = parts.word, f"{{{parts.word}:{parts.form}}}"
    if found == [word] and not _names_its_part(dataset, parts):
        signs = "%Y and %m" if word == "month" else "%Y, %m and %d"
        yield f"{files}: the form does not give the whole {word} back. Use {signs}, such as {form}."
    elif len(found) != 1 or not _names_its_part(dataset, parts):
        yield (
            f"{files} must have the placeholder {{{word}}} once, and no other. Write {{{word}}} where the name has the "
            f"{word}; if it is not written as {parts.example}, say how: {form}."
        )


def _wrong_bundle(dataset: Dataset, files: str, stars: int) -> Iterator[str]:
    if dataset.source:
        yield f"{files} has a *, and the rows of a source are one file. Write the name without it."
    if dataset.files.count(STAR) != 1 or stars != 1:
        yield f"{files} must have one * at most, outside of braces. Write it where the files' names differ."
    if "/" in dataset.files:
        yield f"{files} has a /. Write the name alone: the files are looked for in all subfolders."


def _wrong_format(form: Format) -> Iterator[str]:
    match form:
        case Csv() | JsonLines():
            yield from _wrong_text(form)
        case Excel():
            if form.header_row < 1:
                yield f"format: header_row={form.header_row} is no row. Rows are counted from 1."
            yield from _wrong_footer(form)
        case Reader():
            yield from _wrong_function(form.function)
        case Parquet():
            pass


def _wrong_text(form: Csv | JsonLines) -> Iterator[str]:
    try:
        codecs.lookup(form.encoding)
    except LookupError:
        yield f"format: encoding={form.encoding!r} is unknown. Use a name that Python has, such as utf-8 or latin-1."
    if form.compression not in ("", *(kinds := ("gzip", "zip", "zstd"))):
        known = _either(tuple(f'"{kind}"' for kind in kinds))
        yield f"format: compression={form.compression!r} can't be read. Write {known}, or leave compression out."
    if isinstance(form, Csv):
        for option in ("delimiter", "quote", "decimal"):
            if len(sign := getattr(form, option)) != 1 and (option, sign) != ("quote", ""):
                yield f"format: {option}={sign!r} is not one sign. Write one sign."
            elif option != "decimal" and not sign.isascii():
                yield f"format: {option}={sign!r} is no ASCII sign. Read such files by a function of your own."
        if len(form.thousands) > 1:
            yield f"format: thousands={form.thousands!r} is not one sign. Write one sign, or leave thousands out."
        if form.junk_rows < 0:
            yield f"format: junk_rows={form.junk_rows} is less than 0. Write how many lines are above the header line."
        yield from _wrong_footer(form)
        yield from _same_signs(form)
        yield from _wrong_nulls("format: ", form.nulls, form)


def _wrong_footer(form: Csv | Excel) -> Iterator[str]:
    if form.footer_rows < 0:
        yield f"format: footer_rows={form.footer_rows} is less than 0. Write how many rows to leave out."


def _wrong_nulls(where: str, words: tuple[object, ...], form: Csv) -> Iterator[str]:
    for word in words:
        if not isinstance(word, str):
            yield f'{where}nulls has {word!r}, which is no text. Write "{word}".'
        elif not word.strip():
            yield f"{where}nulls has {word!r}. An empty value is none anyway: remove it."
        elif word != word.strip():
            yield f"{where}nulls has {word!r}. Blanks around a word do not count: remove them."
        elif form.delimiter in word and not form.quote:
            yield (
                f"{where}nulls has {word!r}, and delimiter={form.delimiter!r} cuts it into two values. Correct one of "
                "them."
            )
        elif form.quote and form.quote in word:
            yield f"{where}nulls has {word!r} with the quote {form.quote!r} in it. Write the word without quotes."


def _same_signs(form: Csv) -> Iterator[str]:
    """One sign with two meanings. A comma between values and in numbers is possible where numbers are in quotes."""
    pairs = [("delimiter", "quote"), ("decimal", "quote"), ("thousands", "quote"), ("decimal", "thousands")]
    if not form.quote:
        pairs = [("decimal", "thousands"), ("delimiter", "decimal"), ("delimiter", "thousands")]
    for one, other in pairs:
        if (sign := getattr(form, one)) and sign == getattr(form, other):
            yield f"format: {one} and {other} are both {sign!r}. Correct one of them."


def _wrong_function(function: str) -> Iterator[str]:
    if not _FUNCTION.fullmatch(function):
        yield f'format: Reader({function!r}) names no function. Write Reader("module:function").'
        return
    module = function.partition(":")[0]
    found = None
    try:
        found = find_spec(module)
    except Exception as error:  # noqa: BLE001 - it imports the module's package, which may raise anything
        if not isinstance(error, ModuleNotFoundError) or not f"{module}.".startswith(f"{error.name}."):
            said = error.msg if isinstance(error, SyntaxError) else error
            yield f"format: the package of Reader({function!r}) can't be imported: {type(error).__name__}: {said}."
    if found is None:
        yield f"format: there is no module {module} for Reader({function!r}). Correct the name, or add the module."


def _wrong_in_dagster(dataset: Dataset) -> Iterator[str]:
    """Dagster refuses these too, but names no file."""
    if not _OWNER.fullmatch(dataset.owner):
        yield f"the owner {dataset.owner!r} is invalid. Write team:NAME, such as team:data, or an e-mail address."
    if dataset.group and not _GROUP.fullmatch(dataset.group):
        yield (
            f"the group {dataset.group!r} is invalid. Use letters, digits and underscores; a / stands between a group "
            "and a group in it, as in shops/sales."
        )


def _wrong_bad_rows(dataset: Dataset) -> Iterator[str]:
    if dataset.on_bad_rows not in (ways := ("refuse", "set aside")):
        yield f'on_bad_rows={dataset.on_bad_rows!r} is unknown. Write "{ways[0]}" or "{ways[1]}".'
    if isinstance(dataset.bad_share, bool) or not 0 < dataset.bad_share <= 1:
        yield f"bad_share={dataset.bad_share!r} is no share. Write a number above 0, up to 1: 0.01 for 1 % of the rows."


def _names_its_part(dataset: Dataset, parts: Monthly | Daily) -> bool:
    """Whether the name of a file tells its month or day, so that it can be read from there."""
    part = parts.kind.parse(parts.example)
    try:
        return dataset.part_in(dataset.file_name(part)) == part
    except (LookupError, ValueError, AttributeError, TypeError):
        return False


def _wrong_query(dataset: Dataset, query: Query) -> Iterator[str]:
    if not _VARIABLE.fullmatch(query.database):
        # The value is not shown: it may be an address with a password.
        yield (
            "source: database is no name of a variable. Write a name such as RENTALS_URL (upper-case letters, digits "
            "and underscores), and the address itself into .env."
        )
    if bool(query.table) == bool(query.sql.strip()):
        yield 'source: it must have either a table or sql. Write table="public.rental" or sql="select …".'
    if query.table and not re.fullmatch(r"[^.]+(\.[^.]+)?", query.table):
        yield f"source: the table {query.table!r} is invalid. Write NAME or SCHEMA.NAME."
    if query.sql.strip() and not _SELECT.match(query.sql):
        yield f"source: the sql begins with {query.sql.split()[0]!r}. Write one SELECT: a source is only read."
    if not isinstance(dataset.parts, Whole):
        yield f"it has a source, and comes by the {dataset.parts.word}. Declare parts=Whole()."
    if not isinstance(dataset.format, Parquet):
        yield "it has a source, whose rows land as parquet. Leave the format out."
    yield from _wrong_cursor(dataset, query)


def _wrong_cursor(dataset: Dataset, query: Query) -> Iterator[str]:
    cursor, overlap = f"source: cursor={query.cursor!r}", f"source: overlap={query.overlap!r}"
    if not query.cursor:
        if query.overlap is not None:
            yield (
                f"{overlap} says how far an extract goes back behind its cursor. Declare a cursor, or leave overlap "
                "out."
            )
        return
    if dataset.parts.complete:
        yield (
            f"{cursor} extracts new and changed rows only, and a file of Whole() has all rows. "
            "Declare parts=Whole(complete=False) and a key, or leave cursor out."
        )
    columns = {column.name: column for column in dataset.columns}
    column = columns.get(query.cursor)
    if column is None:
        yield f"{cursor} is no declared column. Use one of {', '.join(columns)}."
        return
    if column.kind not in CURSOR_TYPES:
        yield f"{cursor} has the type {column.type}. Use a column of a type {_either(CURSOR_TYPES)}."
    if column.zone:
        yield f"{cursor} has the zone {column.zone}, whose clocks go back once a year. Use a column without a zone."
    yield from _wrong_overlap(column, query.overlap, overlap)


def _wrong_overlap(column: Column, value: timedelta | int | Decimal | None, overlap: str) -> Iterator[str]:
    """An overlap that can't be taken from a value of its cursor."""
    if isinstance(value, timedelta):
        fits = column.kind in ("timestamp", "timestamptz") or (column.kind == "date" and not value % timedelta(days=1))
        negative = value < timedelta()
    elif value is not None:
        is_number = Decimal(value).is_finite()
        fits = is_number and (column.kind == "decimal" or (column.kind == "long" and value == int(value)))
        negative = is_number and value < 0
    else:
        return
    if not fits:
        wanted = {"long": "a whole number", "decimal": "a number", "date": "timedelta(days=1)"}
        example = wanted.get(column.kind, "timedelta(hours=1)")
        yield f"{overlap} does not fit {column.name!r}, a {column.type}. Write {example}."
    if negative:
        yield f"{overlap} is less than 0. Write how far an extract goes back."
