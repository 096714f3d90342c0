"""The text of a CSV file below its line of names, as UTF-8. Quotes that Arrow would take in any place are refused."""

from __future__ import annotations

import codecs
import io
import re
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.datasets.formats import Csv
from lakehouse.formats.protocol import ContentError

BLOCK = 1 << 20
_LINE_END = re.compile(rb"\r\n|\r|\n")
_NEWLINE, _RETURN = b"\n\r"


class CsvText(io.RawIOBase):
    """What a CSV file has below its first lines, for Arrow's reader; the first line of it is blank.

    A value in quotes must end with a quote before a delimiter or a line's end, and a quote within it must stand twice.
    Arrow does not demand that: it would read `"say "hi""` as `say hi""`, and all rows after a quote that is never
    closed as one value. A quote within a value without quotes is a sign like others: `5" pipe`.

    `content` is decompressed and stays open. `head` is how many lines are not rows. The lines of the footer are left
    out. With `checked`, text in UTF-8 is looked at too: it takes longer, and finds bytes that are no text before
    Arrow sees them.
    """

    def __init__(self, declared: Csv, content: Any, head: int, *, checked: bool = False) -> None:
        self._declared, self._content = declared, content
        self._decoder = None if is_utf8(declared.encoding) else codecs.getincrementaldecoder(declared.encoding)()
        self._checked = codecs.getincrementaldecoder("utf-8")() if checked else None
        self._head, self._line = head, 1
        self._tail = b""  # the last lines so far: they may be the footer
        self._nothing = _nothing(declared)
        self._ready, self._at_end = b"", False
        self._quote = declared.quote.encode()
        self._held = b""  # quotes and blanks at the end of a block: what they mean is decided by the sign after them
        self._before = _NEWLINE
        self._inside, self._opened = False, 0  # whether a value in quotes is not closed yet, and in which line it began
        self._reading, self._ended = Lock(), False
        self._ends = np.zeros(256, dtype=np.bool_)
        self._ends[[ord(declared.delimiter), *b"\r\n"]] = True

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read on.

        Raises:
            ContentError: bytes of another encoding, or a quote where none may stand; names the line.
        """
        with self._reading:
            return b"" if self._ended else self._read(size)

    def end(self) -> None:
        """Read no more: Arrow reads ahead in a thread of its own, and would move the file's position under another."""
        with self._reading:
            self._ended = True

    def _read(self, size: int) -> bytes:
        if self._head:
            self._skip_head()
        # A block may be short. To fill each up would copy all text, because the first one lacks the line of names.
        enough = size // 2 if size <= BLOCK else size
        while len(self._ready) < enough and not self._at_end:
            text = self._next()
            self._check(text)
            self._ready += text
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _skip_head(self) -> None:
        """Read the lines that are no rows. A line end is left of them: Arrow does not take a text without any."""
        text, ends = b"", list[Any]()
        while len(ends) <= self._head and not self._at_end:
            text += self._next()
            ends = list(islice(_LINE_END.finditer(text), self._head + 1))
        if len(ends) < self._head and self._declared.footer_rows:
            raise ContentError(
                f"it has fewer than {self._declared.footer_rows} lines below the line of names, and footer_rows says "
                "that as many at its end are no rows",
                "Look whether the file is whole. If it is, declare its footer_rows",
            )
        rest = text[ends[self._head - 1].end() :] if len(ends) >= self._head else b""
        self._line, self._head = self._head + 1, 0
        self._check(rest)
        self._ready = b"\n" + rest

    def _next(self) -> bytes:
        """The next block, as UTF-8, without lines of the footer."""
        if not self._declared.footer_rows:
            return self._next_block()
        while True:
            text = self._tail + self._next_block()
            place = _last_lines(text, self._declared.footer_rows, self._nothing)
            self._tail = text[place:]
            if place or self._at_end:
                return text[:place]

    def _next_block(self) -> bytes:
        while True:
            block = bytes(self._content.read(BLOCK))
            self._at_end = not block
            if self._decoder is None:
                return block
            try:
                text = self._decoder.decode(block, final=not block).encode()
            except UnicodeError as error:
                raise self._no_text(error) from None
            if text or self._at_end:
                return text

    def _no_text(self, error: UnicodeError) -> ContentError:
        place = "it"
        if isinstance(error, UnicodeDecodeError):
            good = error.object[: error.start].decode(self._declared.encoding, errors="replace")
            place = f"line {self._line + _lines_in(good.encode(errors='replace'))}"
        return ContentError(
            f"{place} is not text in {self._declared.encoding}: {error}", declare_encoding(self._declared)
        )

    def _check(self, block: bytes) -> None:
        """Follow the quotes of the next block.

        Raises:
            ContentError: one stands where none may, or bytes are no text.
        """
        if self._checked is not None:
            try:
                self._checked.decode(block, final=self._at_end)
            except UnicodeError as error:
                raise self._no_text(error) from None
        if not self._quote:
            self._line += _lines_in(block)
            return
        text = self._held + block
        end = len(text) if self._at_end else len(text.rstrip(self._quote + b" \t"))
        self._held, text = text[end:], text[:end]
        if self._quote in text:
            data = np.frombuffer(text, dtype=np.uint8)
            places = np.flatnonzero(data == self._quote[0])
            if not self._all_as_usual(text, data, places):
                self._follow(text, places.tolist())
        self._line += _lines_in(text)
        self._before = text[-1] if text else self._before
        if self._at_end and self._inside:
            raise ContentError(
                f"line {self._opened} has a value that begins with {self._declared.quote} and does not end: no "
                f"{self._declared.quote} closes it up to the end of the file",
                'Declare another quote, or quote="" if values have none around them,',
            )

    def _all_as_usual(self, text: bytes, data: npt.NDArray[np.uint8], places: npt.NDArray[np.intp]) -> bool:
        """Whether the quotes open and close by turns, each at a value's begin or end, or at another quote.

        Two of them within a value are one that closes it and one that opens it again.
        """
        opening, closing = places[int(self._inside) :: 2], places[1 - int(self._inside) :: 2]
        around = np.concatenate((_bytes(self._before), data, _bytes(_NEWLINE)))
        before, after = around[opening], around[closing + 2]
        if not (self._ends[before] | (before == self._quote[0])).all():
            return False
        if not (self._ends[after] | (after == self._quote[0])).all():
            return False
        begins = opening[before != self._quote[0]]
        if len(begins):
            self._opened = self._line + _lines_in(text[: begins[-1]])
        self._inside ^= bool(len(places) % 2)
        return True

    def _follow(self, text: bytes, places: list[int]) -> None:
        """Look at each quote; slower, for texts that have quotes within values without quotes."""
        second = -1
        for place in places:
            if place == second:
                continue
            if self._inside:
                after = text[place + 1] if place + 1 < len(text) else _NEWLINE
                if after == self._quote[0]:
                    second = place + 1
                elif self._ends[after]:
                    self._inside = False
                else:
                    raise self._not_at_the_end(text, place)
                continue
            start = place
            while start and text[start - 1] in b" \t" and not self._ends[text[start - 1]]:
                start -= 1
            if self._ends[text[start - 1] if start else self._before]:
                line = self._line + _lines_in(text[:place])
                if start < place:
                    raise ContentError(
                        f"line {line} has a blank before the {self._declared.quote} of "
                        f"{_excerpt(text, place)}; expected the quote as the value's first sign",
                        'If quotes are a part of the values, declare quote=""',
                    )
                self._inside, self._opened = True, line

    def _not_at_the_end(self, text: bytes, place: int) -> ContentError:
        line = self._line + _lines_in(text[:place])
        began = "" if line == self._opened else f" that began in line {self._opened}"
        return ContentError(
            f"line {line} has {_excerpt(text, place)} where a {self._declared.quote} ends the value{began}; expected "
            f"{self._declared.delimiter!r} or the end of the line after it. A quote within a value in quotes must "
            "stand twice, without a backslash",
            'If values have no quotes around them, declare quote=""',
        )


def _bytes(sign: int) -> npt.NDArray[np.uint8]:
    return np.array([sign], dtype=np.uint8)


def declare_encoding(declared: Csv) -> str:
    """What to do about bytes that are no text."""
    name = codecs.lookup(declared.encoding).name
    examples = "cp1252" if is_utf8(name) else f"utf-8 or {name}-le" if name in ("utf-16", "utf-32") else "utf-8"
    return f"Declare the encoding that the file has, such as {examples}"


def is_utf8(encoding: str) -> bool:
    """Whether Arrow reads this encoding as it is; a mark at the beginning is left out."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _lines_in(text: bytes) -> int:
    """How many line ends; a lone carriage return is one only in a text without others."""
    signs = np.frombuffer(text, dtype=np.uint8)  # quicker than to look for one line end after the other
    return int(np.count_nonzero(signs == _NEWLINE) or np.count_nonzero(signs == _RETURN))


def _nothing(declared: Csv) -> re.Pattern[bytes]:
    """What a line without any value looks like: programs that write tables put lines of delimiters below them."""
    empty = f"|{re.escape(declared.quote * 2)}(?!{re.escape(declared.quote)})" if declared.quote else ""
    return re.compile(rf"(?:[\s{re.escape(declared.delimiter)}]{empty})*".encode())


def _last_lines(text: bytes, count: int, nothing: re.Pattern[bytes]) -> int:
    """Where the last lines with a value begin; 0 if there are fewer, or just as many."""
    end, has_newlines = len(text), b"\n" in text
    while end > 0:
        newline = text.rfind(b"\n", 0, end) if has_newlines else -1
        start = max(newline, text.rfind(b"\r", newline + 1, end)) + 1
        count -= not nothing.fullmatch(text, start, end)
        if not count:
            return start
        end = start - 1
    return 0


def _excerpt(text: bytes, place: int) -> str:
    return repr(text[max(0, place - 12) : place + 20].decode(errors="replace"))
