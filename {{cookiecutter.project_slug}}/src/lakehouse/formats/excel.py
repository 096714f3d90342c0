"""Reading Excel: a header row of a sheet, then rows. Every cell is text; conforming makes numbers and times of it."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice, repeat
from typing import Any

import pyarrow as pa
from openpyxl import load_workbook
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils import range_boundaries

from lakehouse.datasets.formats import Excel
from lakehouse.formats.protocol import ContentError, Unread, UnreadRows

BATCH_ROWS = 8_192
MOST_ROWS = 1_048_576  # of a sheet: Excel's own limit
LARGEST_WHOLE = 2**53  # Excel keeps numbers as doubles
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="([A-Z]+[0-9]+:[A-Z]+[0-9]+)"')

# What it can't keep when it writes, it says when it reads.
warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")

Cells = tuple[Any, ...]
Place = tuple[int, int]  # of a cell: its row, counted from 1 as Excel does, and its column, from 0


@dataclass(frozen=True)
class Header:
    """The name of each column of a sheet, in their order; empty where it has none.

    `shared` are the places, from 0, of names that one merged cell gives to several columns.
    """

    names: tuple[str, ...]
    shared: frozenset[int]


class SheetReader:
    """A sheet of an xlsx file, read row by row. `source` is an open file that can seek.

    Texts that many cells share are held in memory, as the file holds them in one place. With `unread`, a cell with an
    error, or without the result of its formula, is put there.
    """

    def __init__(self, declared: Excel, source: Any, unread: UnreadRows | None = None) -> None:
        self._declared, self._source, self._unread = declared, source, unread
        with damage():
            opened: Any = ExcelReader(source, read_only=True, data_only=True, keep_links=False)
            opened.read()
            self._book = opened.wb
            self._sheet = _sheet(self._book, declared.sheet)
            paths = {sheet.name: relation.target for sheet, relation in opened.parser.find_sheets()}
            self._has_formulas, merged = _marks(source, paths[self._sheet.title], declared.header_row)
            self._names = self._header(merged)
        covered = Counter(merged.values())
        shared = (place for place, origin in merged.items() if covered[origin] > 1 and self._names[place])
        self.header = Header(tuple(self._names), frozenset(shared))
        if not any(self._names):
            raise ContentError(
                f"row {declared.header_row} of the sheet {self._sheet.title!r} has no names of columns",
                "Correct `header_row`",
            )
        self.schema = pa.schema([(name, pa.string()) for name in self._names if name])
        self.rows: int | None = None
        self.is_synthetic = False
        self._first, self._numbers = 0, [0]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        places = [self._names.index(name) for name in columns]
        rows, done = self._below_the_header(), 0
        while True:
            numbers: list[int] = []
            texts: list[list[str | None]] = []
            for number, cells, formulas in islice(rows, BATCH_ROWS):
                row = done + len(numbers)
                numbers.append(number)
                texts.append([self._text_or_unread(row, number, cells, formulas, place) for place in places])
            if not numbers:
                return
            self._first, self._numbers = done, numbers
            done += len(numbers)
            arrays = {name: pa.array([row[n] for row in texts], pa.string()) for n, name in enumerate(columns)}
            # Without columns, a batch of as many rows.
            yield pa.record_batch(arrays) if arrays else pa.RecordBatch.from_struct_array(pa.array([{}] * len(numbers)))

    def place(self, row: int) -> str:
        """How a message names a row of the batch that was read last: by its number in the sheet."""
        return self._at(self._numbers[row - self._first])

    def close(self) -> None:
        """Let go of it."""
        self._book.close()

    def _at(self, number: int) -> str:
        return f"row {number} of the sheet {self._sheet.title!r}"

    def _header(self, merged: dict[int, Place]) -> list[str]:
        """The name of each column; empty where it has none. `merged`: where the text stands that covers a cell."""
        wanted = self._declared.header_row
        rows = {wanted, *(row for row, _ in merged.values())}
        above = islice(_numbered(self._sheet), wanted)
        found = {number: cells for number, cells in above if number in rows}
        width = max([len(found.get(wanted, ())), *(place + 1 for place in merged)])
        self._names = [f"column {place + 1}" for place in range(width)]
        origins = [merged.get(place, (wanted, place)) for place in range(width)]
        texts = [self._text(row, found.get(row, ()), (), column) or "" for row, column in origins]
        return [" ".join(text.split()) for text in texts]

    def _below_the_header(self) -> Iterator[tuple[int, Cells, Cells]]:
        """Rows with a value, without those of the footer: the number, the cells, and the cells with their formulas."""
        waiting: deque[tuple[int, Cells, Cells]] = deque()
        with damage():
            with_formulas: Iterable[tuple[int, Cells]] = repeat((0, ()))
            if self._has_formulas:
                book = load_workbook(self._source, read_only=True, keep_links=False)
                with_formulas = _numbered(_sheet(book, self._declared.sheet))
            for (number, cells), (_, formulas) in zip(_numbered(self._sheet), with_formulas, strict=False):
                if number <= self._declared.header_row or all(cell.value is None for cell in formulas or cells):
                    continue
                waiting.append((number, cells, formulas))
                if len(waiting) > self._declared.footer_rows:
                    yield waiting.popleft()

    def _text_or_unread(self, row: int, number: int, cells: Cells, formulas: Cells, place: int) -> str | None:
        """A cell as text; what is none goes to the unread rows, if there are such."""
        try:
            return self._text(number, cells, formulas, place)
        except ContentError as error:
            if self._unread is None:
                raise
            cell = formulas[place] if cells[place].value is None else cells[place]
            self._unread.setdefault(row, []).append(Unread(str(error), self._names[place], str(_formula(cell.value))))
            return None

    def _text(self, number: int, cells: Cells, formulas: Cells, place: int) -> str | None:
        """A cell as text.

        Raises:
            ContentError: it has an error, a formula without a result, or a number that Excel can't keep exactly.
        """
        if place >= len(cells):
            return None
        cell = cells[place]
        found = wanted = ""
        if cell.value is None:
            formula = formulas[place] if place < len(formulas) else cell
            # An empty text is a result too.
            if formula.value is not None and cell.data_type != "str":
                found, wanted = (
                    f"the formula {_formula(formula.value)} without a result",
                    "a file that was saved with results",
                )
        elif cell.data_type == "e":
            found, wanted = f"the error {cell.value}", "a value"
        elif _is_inexact(cell.value):
            found, wanted = f"the number {cell.value!r}", f"whole numbers up to 2**53, {LARGEST_WHOLE:,}, or text"
        if found:
            raise ContentError(
                f"the column {self._names[place]!r} has {found} in {self._at(number)}; expected {wanted}"
            )
        return _spelled(cell.value)


def _formula(value: Any) -> Any:
    """The text of a formula over several cells, which openpyxl keeps in an object; any other value as it is."""
    return getattr(value, "text", value)


def names_in(declared: Excel, source: Any) -> list[str]:
    """The names of the columns; no rows are read.

    Raises:
        pa.ArrowInvalid, OSError: it is no such file, or has no such sheet.
    """
    with closing(SheetReader(declared, source)) as reader:
        return reader.schema.names


def header_of(declared: Excel, source: Any) -> Header:
    """The names of the columns, also of those without one; no rows are read.

    Raises:
        pa.ArrowInvalid, OSError: it is no such file, or has no such sheet or no names.
    """
    with closing(SheetReader(declared, source)) as reader:
        return reader.header


def _sheet(book: Any, name: str) -> Any:
    """The sheet of this name; without a name, the first that is not hidden."""
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    shown = [title for title, sheet in sheets.items() if sheet.sheet_state == "visible"]
    if not name and not shown:
        first = next(iter(sheets), "…")
        raise ContentError(
            f"it has only hidden sheets ({', '.join(sheets) or 'none'})",
            f'Declare the one to read, as sheet="{first}",',
        )
    if name and name not in sheets:
        raise ContentError(f"it has no sheet {name!r}; it has: {', '.join(sheets) or 'none'}", "Correct `sheet`")
    sheet = sheets[name or shown[0]]
    # Other programs write wrong ones, and what is outside of them would not be read.
    sheet.reset_dimensions()
    return sheet


def _numbered(sheet: Any) -> Iterator[tuple[int, Cells]]:
    """The rows of a sheet, with their numbers.

    Raises:
        ContentError: it has more than a sheet can have.
    """
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if number > MOST_ROWS:
            raise ContentError(
                f"the sheet {sheet.title!r} goes beyond row {MOST_ROWS:,}, where Excel itself stops. Remove what "
                "stands below, or save the sheet as CSV and declare format=Csv()"
            )
        yield number, cells


def _marks(source: Any, path: str, header_row: int) -> tuple[bool, dict[int, Place]]:
    """Whether a sheet has formulas; and for each column of a merged header cell, where its text stands: top left.

    openpyxl tells neither without loading the whole sheet.
    """
    formulas, merged = False, dict[int, Place]()
    with zipfile.ZipFile(source) as archive, archive.open(path) as part:
        before = b""
        while chunk := part.read(1 << 20):
            text = before + chunk
            formulas = formulas or bool(_FORMULA.search(text))
            for found in _MERGED.findall(text):
                boundaries: Any = range_boundaries(found.decode())  # its stub allows whole columns
                left, top, right, bottom = boundaries
                if top <= header_row <= bottom:
                    merged |= dict.fromkeys(range(left - 1, right), (top, left - 1))
            before = text[-100:]
    return formulas, merged


@contextmanager
def damage() -> Iterator[None]:
    """Tell what is no such file. openpyxl has no errors of its own for it: anything can be raised."""
    try:
        yield
    except ContentError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise ContentError(
            f"it can't be read as an xlsx file: it is cut short or of another kind ({type(error).__name__}: {said}). "
            "Save it again as xlsx"
        ) from error


def _is_inexact(value: object) -> bool:
    """Whether a number is none that Excel keeps: infinite, or a whole number that stands for its neighbours too."""
    if isinstance(value, float) and not math.isfinite(value):
        return True
    return isinstance(value, int | float) and abs(value) > LARGEST_WHOLE and value == int(value)


def _spelled(value: Any) -> str | None:
    """A cell's value as text that a cast reads back exactly."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            return str(int(value)) if value == int(value) else repr(value)
