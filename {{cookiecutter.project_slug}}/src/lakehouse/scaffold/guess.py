"""Guess a dataset from samples: how they are written, their columns' types, a key, and what one file is of the table.

Samples are read whole, batch by batch, by the reader and the conformer of a load. What is guessed has loaded them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute

from lakehouse.datasets.declaration import problem
from lakehouse.datasets.formats import Csv, Format, JsonLines, Parquet
from lakehouse.datasets.model import BEGINNING, STAR, Column, Dataset, Name, normalised
from lakehouse.datasets.parts import Part, Whole
from lakehouse.datasets.sources import Query
from lakehouse.errors import RefusedError, first_line
from lakehouse.formats import open_reader
from lakehouse.formats.protocol import BatchReader
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.fixes import NOTHING
from lakehouse.loading.spelling import without_nulls
from lakehouse.scaffold.columns import TextFormat, Texts, Typed, spelled, typed, typed_by_file, wider, widest
from lakehouse.scaffold.form import TOTAL, as_declared, form_of, same_form
from lakehouse.scaffold.key import candidates, key_of
from lakehouse.scaffold.names import column_names
from lakehouse.scaffold.series import Series, series_of

# its stubs know no plain Python values
pc: Any = compute

TIME_TYPES = ("timestamp", "timestamptz", "date")
INSIDE = 0.9  # the share of rows whose time lies in the part of their file


@dataclass(frozen=True)
class Sample:
    """A sample file, and the month or day that its name says."""

    path: Path
    part: Part | None


@dataclass(frozen=True)
class Guess:
    """A dataset that loads the samples, and why it is declared so.

    `why` has a sentence for each column, `left_out` one for each of the files' columns that no type takes. `filled`
    are the columns without an empty value. `key` is why these columns may be the key, or why none is. `notes` are
    guesses that the samples don't decide. `looked_at` is what was read, for people.
    """

    dataset: Dataset
    samples: tuple[Sample, ...]
    rows: int
    why: dict[str, str]
    filled: frozenset[str]
    key: str
    time: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    looked_at: str = ""


def guess(name: str, paths: Sequence[Path]) -> Guess:
    """Look at samples of one series, and declare the dataset `name` that loads them.

    Raises:
        RefusedError: a sample can't be read, or no declaration loads it as it is. The message says what to correct.
    """
    try:
        return _guess(name, paths)
    except RefusedError as error:
        raise RefusedError(f"{error} No dataset was made.") from error


def _guess(name: str, paths: Sequence[Path]) -> Guess:
    for path in paths:
        if path.is_dir():
            raise RefusedError(f"{path} is a folder. Name its files: {path}/*.csv.")
        if not path.is_file():
            raise RefusedError(f"There is no file {path}. Check the path.")
        if STAR in path.name:
            raise RefusedError(f"{path} has a {STAR} in its name, which stands for any text in `files`. Rename it.")
    series = series_of([path.name for path in paths])
    form = same_form({path: form_of(path) for path in paths})
    samples = tuple(Sample(path, part) for path, part in zip(paths, series.found, strict=True))
    first = Steps(name, samples, series, form.format)
    return first.guess(form.notes)


@contextmanager
def reading(declared: Format, path: Path) -> Iterator[BatchReader]:
    """A sample, open for reading; what its reader says of damage is said of the sample."""
    try:
        with pa.OSFile(str(path), "r") as source, closing(open_reader(declared, source)) as reader:
            yield reader
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = first_line(error)
        usual = ""
        if isinstance(declared, Csv):
            usual = "; rows of other lengths, totals below the rows and quotes within values are the usual causes"
        elif isinstance(declared, JsonLines):
            usual = "; each line must be one whole JSON object"
        raise RefusedError(
            f"{path} can't be read as {as_declared(declared)}: {said}. Correct the file, or export it again{usual}."
        ) from error


class Steps:
    """The way from samples to a guess; each step reads the samples once."""

    def __init__(self, name: str, samples: tuple[Sample, ...], series: Series, declared: Format) -> None:
        self.name = name
        self.samples = samples
        self.series = series
        self.declared = declared
        self.source: Query | None = None
        self.rows = 0
        self.left_out: dict[str, str] = {}

    def guess(self, notes: tuple[str, ...]) -> Guess:
        """All steps."""
        self.present = self._names()
        types, told = self._types()
        called = column_names(types)
        dataset = self._dataset(types, called)
        dataset, types = self._conforming(dataset, types, called)
        seen = self._look(dataset)
        dataset, key = self._keyed(dataset, seen)
        dataset = self._with_duties(dataset, seen)
        dataset, time = self._timed(dataset, seen)
        self._load(dataset)
        return Guess(
            dataset=dataset,
            samples=self.samples,
            rows=self.rows,
            why={called[name]: found.why for name, found in types.items() if name not in self.left_out},
            filled=self._filled(seen),
            key=key,
            time=time,
            left_out=self.left_out,
            notes=(*notes, *told, *(_not_in_silver(column) for column in dataset.columns if column.kind == "list")),
            looked_at=self._looked_at(),
        )

    def _looked_at(self) -> str:
        names = ", ".join(sample.path.name for sample in self.samples[:3])
        more = f" and {len(self.samples) - 3} more" if len(self.samples) > 3 else ""
        return f"{names}{more} ({self.rows:,} rows)"

    def _types(self) -> tuple[dict[str, Typed], tuple[str, ...]]:
        """The files' columns with their types, and what to tell."""
        return self._types_of_parquet() if isinstance(self.declared, Parquet) else self._types_of_text()

    def _filled(self, seen: Seen) -> frozenset[str]:
        """The columns without an empty value."""
        return frozenset(name for name, empty in seen.empty.items() if not empty)

    def _names(self) -> dict[str, int]:
        """The files' columns, and how many samples have each."""
        present: dict[str, int] = {}
        for sample in self.samples:
            with reading(self.declared, sample.path) as reader:
                # the members of an object or a struct are columns themselves
                names = [column.name for column in reader.schema if not pa.types.is_struct(column.type)]
            meant: dict[str, str] = {}
            for name in names:
                other = meant.setdefault(normalised(name), name)
                if other is not name and normalised(name):
                    what, fix = self._of_names(sample)
                    raise RefusedError(
                        f"{what} has the columns {other!r} and {name!r}, which are one name; case, blanks and "
                        f"underscores do not count. {fix}"
                    )
            for name in dict.fromkeys(names):
                present[name] = present.get(name, 0) + 1
            self._blank = names.count("")
        return present

    def _of_names(self, sample: Sample) -> tuple[str, str]:
        """For messages: what has the names of a sample, and how to change one."""
        return str(sample.path), "Rename one in the file."

    def _batches(self, sample: Sample, wanted: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, Callable[[int], str]]]:
        """Batches with rows, and how messages name a row of the sample, counted from 0."""
        with reading(self.declared, sample.path) as reader:

            def place(row: int) -> str:
                of_which = f" of {sample.path.name}" if len(self.samples) > 1 else ""
                return f"{reader.place(row)}{of_which}"

            for batch in reader.batches([n for n in wanted if n in reader.schema.names]):
                if len(batch):
                    yield batch, place

    def _types_of_text(self) -> tuple[dict[str, Typed], tuple[str, ...]]:
        seen, ends = self._texts()
        told: tuple[str, ...] = ()
        nulls: tuple[str, ...] = ()
        if isinstance(self.declared, Csv) and ends.totals == len(self.samples):
            told += (ends.guess,)
            self.declared = replace(self.declared, footer_rows=1)
            seen, ends = self._texts()
        whole = seen
        if isinstance(self.declared, Csv) and (nulls := self._nulls(self.declared, seen)):
            note = (
                f"It is a guess that {_list(nulls)} {'means' if len(nulls) == 1 else 'mean'} no value. In columns of "
                "text such a word stays text, by nulls=(): remove that where it means no value too."
            )
            told += (note,)
            self.declared = replace(self.declared, nulls=nulls)
            seen, ends = self._texts()
        self._require_rows()
        if (self._blank and "" not in seen) or not seen.get("", Texts(rows=1)).filled:
            # a delimiter at the end of each line makes a column without name and values
            seen.pop("", None)
            self.left_out[""] = f"{self._blank} of the columns have no name" if self._blank > 1 else "it has no name"
        assert isinstance(self.declared, TextFormat)  # noqa: S101 - for the type checker; the caller asked
        self.declared, others = spelled(seen.values(), self.declared)
        told += others
        told += ends.notes() if isinstance(self.declared, Csv) else ()
        types = {name: typed(texts, self.declared) for name, texts in seen.items()}
        for name, found in types.items():
            if found.type == "string":
                types[name] = _kept(whole[name], self.declared, nulls)
        return types, told

    def _texts(self) -> tuple[dict[str, Texts], Ends]:
        """What the columns have, by the form that is known so far, and how the samples end."""
        seen = {name: Texts() for name in self.present if name or self._blank == 1}
        ends = Ends()
        nulls = self.declared.nulls if isinstance(self.declared, Csv) else ()
        self.rows = 0
        for sample in self.samples:
            rows = 0
            for batch, place in self._batches(sample, list(seen)):
                ends.add(batch)
                within = partial(_place_after, rows, place)
                for name in batch.schema.names:
                    seen[name].add(without_nulls(batch.column(name), nulls), within)
                rows += len(batch)
            self.rows += rows
            ends.end()
        return seen, ends

    def _nulls(self, declared: Csv, seen: dict[str, Texts]) -> tuple[str, ...]:
        """The words for no value without which a column would be text; none if it is text all the same."""
        words: set[str] = set().union(*(texts.nothing for texts in seen.values()))
        if not words:
            return ()
        self.declared = replace(declared, nulls=tuple(sorted(words)))
        without, _ = self._texts()
        self.declared = declared
        types = [
            {name: typed(texts, spelled(columns.values(), declared)[0]).type for name, texts in columns.items()}
            for columns in (seen, without)
        ]
        helped = [name for name in seen if types[0][name] == "string" != types[1][name]]
        return tuple(sorted(set().union(*(seen[name].nothing for name in helped))))

    def _types_of_parquet(self) -> tuple[dict[str, Typed], tuple[str, ...]]:
        found: dict[str, Typed] = {}
        for sample in self.samples:
            with reading(self.declared, sample.path) as reader:
                self.rows += reader.rows or 0
                for column in reader.schema:
                    if pa.types.is_struct(column.type):
                        continue
                    kind = typed_by_file(column.type)
                    if kind is None:
                        self.left_out[column.name] = f"no type of a column takes the file's type {column.type}"
                    else:
                        found[column.name] = wider(found.get(column.name, kind), kind)
        self._require_rows()
        return {name: kind for name, kind in found.items() if name not in self.left_out}, ()

    def _require_rows(self) -> None:
        if not self.rows:
            raise RefusedError(
                f"{self.samples[0].path} has columns and no rows, so nothing tells the types. Nothing was written. "
                "Give a sample that has rows."
            )

    def _dataset(self, types: dict[str, Typed], called: dict[str, str]) -> Dataset:
        if not types:
            raise RefusedError(
                f"{self.samples[0].path} has no column that can be loaded. Give a sample "
                "whose columns have names and single values."
            )
        has_nulls = isinstance(self.declared, Csv) and bool(self.declared.nulls)
        columns = tuple(
            Column(
                called[name],
                found.type,
                () if name == called[name] else (Name(name),),
                nulls=() if has_nulls and found.type == "string" else None,
            )
            for name, found in types.items()
        )
        dataset = Dataset(
            name=self.name,
            title=self.name.replace("_", " ").capitalize(),
            table=f"raw.{self.name}",
            files=self.series.files,
            parts=self.series.parts,
            format=self.declared,
            columns=columns,
            source=self.source,
        )
        return replace(dataset, ignored=tuple(self.left_out)) if self.left_out else dataset

    def _conforming(
        self, dataset: Dataset, types: dict[str, Typed], called: dict[str, str]
    ) -> tuple[Dataset, dict[str, Typed]]:
        """The dataset with wider types for columns that hold a value that is refused; a column may become text."""
        types = dict(types)
        while refused := self._refused(dataset):
            for name, said in refused.items():
                if types[name].type == (text := widest(types[name].type)):
                    self.left_out[name] = said
                    del types[name]
                else:
                    types[name] = Typed(text, said)
            dataset = self._dataset(types, called)
        return dataset, types

    def _refused(self, dataset: Dataset) -> dict[str, str]:
        """The files' columns of which a value does not conform, with the refusal."""
        found: dict[str, str] = {}
        alone = {column.published_name(None): replace(dataset, columns=(column,)) for column in dataset.columns}
        for sample in self.samples:
            conformers: dict[str, Conformer] = {}
            for batch, place in self._batches(sample, list(alone)):
                for name in batch.schema.names:
                    if name in found:
                        continue
                    own = alone[name]
                    try:
                        if name not in conformers:
                            match = plan(own, sample.part, pa.schema([batch.schema.field(name)]), sample.path.name)
                            conformers[name] = Conformer(own, sample.part, match, sample.path.name, place)
                        conformers[name].conform(batch.select([name]))
                    except RefusedError as error:
                        found[name] = str(error).partition(f". {NOTHING}")[0].partition(": ")[2]
        return found

    def _look(self, dataset: Dataset) -> Seen:
        """What the conformed columns show: empty values, repeated keys, and times within the part."""
        seen = Seen(dataset)
        for sample in self.samples:
            seen.begin(sample.part)
            for arrays in self._conformed(dataset, sample):
                seen.add(arrays)
        return seen

    def _conformed(self, dataset: Dataset, sample: Sample) -> Iterator[list[pa.Array[Any]]]:
        with reading(self.declared, sample.path) as reader:
            match = plan(dataset, sample.part, reader.schema, sample.path.name)
            conformer = Conformer(dataset, sample.part, match, sample.path.name, reader.place)
            wanted = [source for source in match.sources.values() if source is not None]
            yield from (conformer.conform(batch) for batch in reader.batches(wanted) if len(batch))
            conformer.finish()

    def _keyed(self, dataset: Dataset, seen: Seen) -> tuple[Dataset, str]:
        if self.rows == 1:
            return dataset, "none: one row does not tell"
        if not isinstance(dataset.parts, Whole):
            return dataset, f"none: rows of a {dataset.parts.word} are known by their place in its file"
        found = candidates(column for column in dataset.columns if not seen.empty[column.name])
        if not found:
            return dataset, "none: no column without empty values looks like an identifier"
        (sample,) = self.samples
        key = key_of(found, lambda: self._conformed(dataset, sample), [c.name for c in dataset.columns])
        if not key:
            looked = ", ".join(sorted({name for names in found for name in names}))
            return dataset, f"none: values stand twice in {looked}"
        together = " together" if len(key) > 1 else ""
        why = f"a guess: in {self.rows:,} rows no value is empty, and none stands twice{together}"
        return replace(dataset, key=key), why

    def _with_duties(self, dataset: Dataset, seen: Seen) -> Dataset:
        """Columns that every sample has are required; those without an empty value must have values."""
        since = BEGINNING if isinstance(dataset.parts, Whole) else dataset.parts.since
        columns = tuple(
            replace(column, required_since=since, never_empty=not seen.empty[column.name])
            if self.present[column.published_name(None)] == len(self.samples)
            else column
            for column in dataset.columns
        )
        return replace(dataset, columns=columns)

    def _timed(self, dataset: Dataset, seen: Seen) -> tuple[Dataset, str]:
        """Mark the first column whose times lie in the part that the file's name says."""
        if isinstance(dataset.parts, Whole):
            return dataset, ""
        name = next((name for name, share in seen.inside() if share >= INSIDE), None)
        if name is None:
            return dataset, f"none: no column's times lie in the {dataset.parts.word} of the file"
        columns = tuple(replace(c, role="time") if c.name == name else c for c in dataset.columns)
        return replace(dataset, columns=columns), f"{name}: its times lie in the {dataset.parts.word} of the file"

    def _load(self, dataset: Dataset) -> None:
        """Read all samples as a load reads them, by the declaration as it will be written.

        Raises:
            RefusedError: a load would refuse one.
        """
        if wrong := problem(dataset):
            raise RefusedError(f"No declaration of {self.samples[0].path} could be made: {wrong}")
        for sample in self.samples:
            for _ in self._conformed(dataset, sample):
                pass


class Seen:
    """What conformed columns show, batch by batch. Holds no rows."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._columns = dataset.columns
        self._part: Part | None = None
        self.empty = {column.name: 0 for column in dataset.columns}
        self._inside = {column.name: 0 for column in dataset.columns if column.type in TIME_TYPES}
        self._times = dict(self._inside)

    def begin(self, part: Part | None) -> None:
        """The next batches are of this part."""
        self._part = part

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Count one batch."""
        for column, values in zip(self._columns, arrays, strict=True):
            self.empty[column.name] += values.null_count
            if column.type == "string":
                self.empty[column.name] += pc.equal(pc.utf8_trim_whitespace(values), "").true_count
            if column.name in self._times and self._part is not None:
                days = values.cast(pa.date32(), safe=False)
                inside = pc.and_(
                    pc.greater_equal(days, pa.scalar(self._part.first_day)),
                    pc.less_equal(days, pa.scalar(self._part.last_day)),
                )
                self._times[column.name] += len(values) - values.null_count
                self._inside[column.name] += inside.true_count

    def inside(self) -> list[tuple[str, float]]:
        """The share of each column's times that lie in the part of their file."""
        return [(name, self._inside[name] / times) for name, times in self._times.items() if times]


class Ends:
    """The last rows of CSV files: totals, and rows without any value, are loaded as rows like others."""

    def __init__(self) -> None:
        self._empty = 0
        self._last: list[str] = []
        self._totals: list[list[str]] = []
        self.totals, self.guess = 0, ""  # of how many samples the last row has the word for a total, and what to tell
        self._fewest, self._fewest_before = 1 << 30, 1 << 30  # values in a row, and in a row before the last one

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at one batch."""
        if batch.num_columns < 2 or any(pa.types.is_list(kind) for kind in batch.schema.types):
            return
        filled = sum(
            pc.not_equal(pc.utf8_trim_whitespace(values), "").fill_null(False).cast(pa.int64()).to_numpy()
            for values in batch.columns
        )
        counts = filled[filled > 0]
        self._empty += len(filled) - len(counts)
        if len(counts):
            last = int(filled.nonzero()[0][-1])
            self._last = [column[last].as_py() or "" for column in batch.columns]
            self._fewest_before = min(self._fewest, *counts[:-1].tolist(), 1 << 30)
            self._fewest = min(self._fewest_before, int(counts[-1]))

    def end(self) -> None:
        """The sample ends."""
        filled = [value for value in self._last if value.strip()]
        if filled and TOTAL.fullmatch(filled[0].strip()) and len(filled) < len(self._last):
            self.totals += 1
            self.guess = (
                f"It is a guess that the last row is no row of the table: {', '.join(filled)[:80]!r}. Every file loses "
                "one row; if others have no total, correct footer_rows."
            )
        if filled and (
            TOTAL.fullmatch(filled[0].strip())
            or (len(filled) * 2 <= len(self._last) and len(filled) < self._fewest_before)
        ):
            self._totals.append(filled)
        self._last = []

    def notes(self) -> tuple[str, ...]:
        """What to tell."""
        found = []
        if self._totals:
            found.append(
                f"The last row has {', '.join(self._totals[0])[:80]!r} only, as sums have. It is loaded as a row. "
                "Leave it out in the staging model, or in the files."
            )
        if self._empty:
            found.append(
                f"{self._empty:,} rows have no value at all, and are loaded. Leave them out in the staging model."
            )
        return tuple(found)


def _place_after(rows: int, place: Callable[[int], str], row: int) -> str:
    """How messages name a row of a batch that comes after so many rows."""
    return place(rows + row)


def _kept(texts: Texts, declared: TextFormat, nulls: tuple[str, ...]) -> Typed:
    """A column of text, and why; words that mean no value in other columns are text in it."""
    found = typed(texts, declared)
    words = tuple(sorted(texts.nothing.intersection(nulls)))
    return replace(found, why=f"{found.why}; {_list(words)} stays text here") if words else found


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(map(repr, words))


def _not_in_silver(column: Column) -> str:
    return f"{column.name} is a list, so the staging model leaves it out; unnest({column.name}) makes rows of it."
