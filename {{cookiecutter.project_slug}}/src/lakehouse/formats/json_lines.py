"""Reading JSON lines: an object a line. Every value is text; conforming makes numbers and times of it.

The file is read twice: which columns it has is known only at its end. Each line is checked whole.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from lakehouse.datasets.formats import JsonLines
from lakehouse.formats.compression import Kept, decompressed
from lakehouse.formats.protocol import ContentError, Unread, UnreadRows

BATCH_LINES = 32_768
BATCH_BYTES = 16 << 20
LONGEST_LINE = 16 << 20  # bytes
MOST_NAMES = 10_000
HEAD_LINES = 100
MARK = b"\xef\xbb\xbf"
# An object without members: the type of a name that only stands for objects. Their members are columns themselves.
AN_OBJECT: Any = pa.struct([])
A_LIST: Any = pa.list_(pa.string())
_KINDS = {dict: AN_OBJECT, list: A_LIST}  # all else is text

Row = dict[str, Any]
HasLists = Callable[[str], bool | None]


class JsonLinesReader:
    """A file of JSON lines. `source` is an open file that can seek. Opening it reads it once.

    With `unread`, a line that is no object, or has a list or an object in a column, is put there. `has_lists` says
    whether a name is that of a declared column of lists; None where it is not declared, and its first value says it.
    """

    def __init__(
        self, declared: JsonLines, source: Any, unread: UnreadRows | None = None, has_lists: HasLists = lambda _: None
    ) -> None:
        self._declared, self._source, self._unread = declared, source, unread
        columns, rows = _Columns(has_lists), 0
        for number, line in _lines(declared, source):
            columns.read(line, number, with_bad_rows=unread is not None)
            rows += 1
        self.schema = columns.schema()
        self.rows: int | None = rows
        self.is_synthetic = False
        self._first, self._numbers = 0, [0]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        done = 0
        for numbers, rows in _blocks(_lines(self._declared, self._source), columns, self._unread):
            self._first, self._numbers = done, numbers
            done += len(rows)
            texts = {
                name: (self._lists if self.schema.field(name).type == A_LIST else self._texts)(name, values)
                for name, values in zip(columns, zip(*rows, strict=True), strict=True)
            }
            # Without columns, a batch of as many rows.
            yield pa.record_batch(texts) if texts else pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows)))

    def place(self, row: int) -> str:
        """How a message names a row of the batch that was read last: by its line."""
        return f"line {self._numbers[row - self._first]}"

    def close(self) -> None:
        """Nothing is held open."""

    def _texts(self, name: str, values: Sequence[Any]) -> pa.Array[Any]:
        """A column as text: numbers as they are written, `true` and `false`, null."""
        try:
            return pa.array(values, pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
            return pa.array(self._each(_text, name, values), pa.string())

    def _lists(self, name: str, values: Sequence[Any]) -> pa.Array[Any]:
        """A column of lists, each value in them as text."""
        found: pa.Array[Any] = pa.array(self._each(_list, name, values), A_LIST)
        return found

    def _each(self, read: Callable[[Any, str, str], Any], name: str, values: Sequence[Any]) -> list[Any]:
        """The values of a column, read one by one."""
        found = []
        for row, value in enumerate(values, self._first):
            try:
                found.append(read(value, name, self.place(row)))
            except ContentError as error:
                if self._unread is None:
                    raise
                self._unread.setdefault(row, []).append(Unread(str(error), name, json.dumps(value)))
                found.append(None)
        return found


def names_in(declared: JsonLines, source: Any, *, with_bad_rows: bool = False) -> list[str]:
    """The names in the first lines.

    Raises:
        pa.ArrowInvalid, OSError: these are no lines of JSON objects.
    """
    columns = _Columns()
    for number, line in islice(_lines(declared, source), HEAD_LINES):
        columns.read(line, number, with_bad_rows=with_bad_rows)
    return columns.schema().names


class _Columns:
    """The names in the rows so far, each with what it is declared to hold, or what its first value is."""

    def __init__(self, has_lists: HasLists = lambda _: None) -> None:
        self._has_lists = has_lists
        self._kinds: dict[str, Any] = {}
        self._settled: set[str] = set()

    def read(self, line: str, number: int, *, with_bad_rows: bool) -> None:
        """Take the names in one more line.

        Raises:
            ContentError: there are too many names; or the line is no object, and there may be no bad rows.
        """
        try:
            self._add(_row(line, number), number)
        except ContentError:
            if not with_bad_rows:
                raise
        if len(self._kinds) > MOST_NAMES:
            raise ContentError(
                f"the file has more than {MOST_NAMES:,} different names up to line {number}, and each name is a "
                "column. Perhaps ids or dates are used as names: they must be written as values"
            )

    def _add(self, row: Row, line: int) -> None:
        if row.keys() <= self._settled:
            return
        for name, value in row.items():
            if name in self._settled:
                continue
            if name not in self._kinds:
                _check_text(name, f"line {line} has the name")
            lists = self._has_lists(name) if name not in self._kinds else None
            kind = _KINDS.get(value.__class__, pa.string()) if lists is None else A_LIST if lists else pa.string()
            self._kinds[name] = kind
            if value is not None or lists is not None:
                self._settled.add(name)

    def schema(self) -> pa.Schema:
        """The columns."""
        return pa.schema(list(self._kinds.items()))


def _lines(declared: JsonLines, source: Any) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers, from 1."""
    source.seek(0)
    content, encoding = decompressed(source, declared.compression), declared.encoding
    if "\n".encode(encoding) != b"\n":  # its line ends are found in another encoding only
        content, encoding = pa.transcoding_input_stream(pa.PythonFile(Kept(content), "r"), encoding, "utf-8"), "utf-8"
    lines, number = io.BufferedReader(Kept(content), 1 << 20), 0
    while True:
        number += 1
        try:
            line = lines.readline(LONGEST_LINE + 1)
            if number == 1:
                line = line.removeprefix(MARK)
            text = line.decode(encoding)
        except UnicodeError as error:
            raise ContentError(
                f"line {number} is not text in {declared.encoding}: {error}",
                "Declare the encoding that the file has",
            ) from error
        if not line:
            return
        if len(line) > LONGEST_LINE:
            raise ContentError(f"line {number} is longer than {LONGEST_LINE:,} bytes; expected an object a line")
        if not text.isspace():
            yield number, text.rstrip("\r\n")


def _blocks(
    lines: Iterator[tuple[int, str]], columns: Sequence[str], unread: UnreadRows | None
) -> Iterator[tuple[list[int], list[tuple[Any, ...]]]]:
    """The values of these columns, row by row, with the numbers of the lines; as many at a time as memory is for."""
    numbers: list[int] = []
    rows: list[tuple[Any, ...]] = []
    size = 0
    for place, (number, line) in enumerate(lines):
        numbers.append(number)
        try:
            row = _row(line, number)
        except ContentError as error:
            if unread is None:
                raise
            unread[place] = [Unread(str(error), None, line)]
            row = {}
        rows.append(tuple(map(row.get, columns)))
        size += len(line)
        if len(rows) == BATCH_LINES or size > BATCH_BYTES:
            yield numbers, rows
            numbers, rows, size = [], [], 0
    if rows:
        yield numbers, rows


class _Constant(str):
    """NaN or Infinity, which Python takes for JSON."""

    __slots__ = ()


def _members(pairs: list[tuple[str, Any]]) -> Row:
    """An object's members by name. Those of an object within it stand beside it: `customer` and `customer.name`."""
    row: Row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ContentError(f"has the name {next(name for name in names if names.count(name) > 1)!r} twice")
    for name, value in pairs:
        if value.__class__ is dict:
            for inner, member in value.items():
                if (path := f"{name}.{inner}") in row:
                    raise ContentError(f"has {path!r} twice: as a name, and as a member of an object")
                row[path] = member
        elif value.__class__ is _Constant:
            raise ContentError(f"has {value} in {name!r}; expected a number or null")
    return row


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_Constant, object_pairs_hook=_members)


def _row(line: str, number: int) -> Row:
    """The object in a line.

    Raises:
        ContentError: it is none, or a name stands twice in it.
    """
    try:
        row = _DECODER.decode(line)
    except ContentError as error:
        raise ContentError(f"line {number} {error}") from None
    except json.JSONDecodeError as error:
        raise ContentError(
            f"line {number} is not one whole JSON object: {error.msg} at character {error.pos + 1}, "
            f"{line[error.pos : error.pos + 40]!r}; expected each object on one line"
        ) from None
    except RecursionError:
        raise ContentError(f"line {number} has objects or lists within each other, too deep to be read") from None
    if row.__class__ is not dict:
        kind = "a list" if isinstance(row, list) else "a value"
        raise ContentError(f"line {number} has {kind}, {line.strip()[:40]!r}; expected an object, {{…}}")
    return row  # type: ignore[no-any-return]


def _text(value: Any, name: str, place: str) -> str | None:
    """A value as text.

    Raises:
        ContentError: it is no single value, or no text.
    """
    match value:
        case None:
            return None
        case True | False:
            return str(value).lower()
        case str():
            _check_text(value, f"the column {name!r} has in {place} the text")
            return value
        case _:
            kind = "an object" if isinstance(value, dict) else "a list"
            raise ContentError(
                f"the column {name!r} has {kind} in {place}; expected a single value (text, number, true, false, null)",
                "If it is a list of single values, correct the column's type" if kind == "a list" else "",
            )


def _list(value: Any, name: str, place: str) -> list[str | None] | None:
    """A list, each value in it as text.

    Raises:
        ContentError: it is none, or has something else than single values.
    """
    if value is None:
        return None
    if value.__class__ is not list:
        kind = "an object" if isinstance(value, dict) else "a single value"
        raise ContentError(
            f"the column {name!r} has {kind} in {place}; expected a list, such as [1, 2], or null",
            "If it is no list, correct the column's type",
        )
    for one in value:
        if isinstance(one, dict | list):
            kind = "an object" if isinstance(one, dict) else "a list"
            raise ContentError(
                f"the column {name!r} has a list with {kind} in it in {place}; expected a list of single values"
            )
    return [_text(one, name, place) for one in value]


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ContentError(f"{what} {text[:40]!r}, which is no Unicode text: half of a surrogate pair") from None
