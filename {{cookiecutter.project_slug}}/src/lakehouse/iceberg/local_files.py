"""Files of tables on `embedded`: metadata is read as it is, without the import that all other files need.

PyIceberg reads local files by pyarrow's datasets, which import pandas. That is a third of the time of a command that
reads metadata alone. PyIceberg takes this class by its name, from the properties of the catalog.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pyiceberg.io import FileIO, InputFile, OutputFile

from lakehouse.iceberg.files import local_path

METADATA = (".json", ".avro")


class LocalFiles(FileIO):
    """PyIceberg's own access to files, but for reading metadata: table metadata, lists of manifests, manifests."""

    @cached_property
    def _by_arrow(self) -> FileIO:
        from pyiceberg.io.pyarrow import PyArrowFileIO  # noqa: PLC0415 - slow, and often not needed

        return PyArrowFileIO(self.properties)

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        is_ours = location.startswith("file://") and location.endswith(METADATA)
        return Metadata(location) if is_ours else self._by_arrow.new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write."""
        return self._by_arrow.new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file."""
        self._by_arrow.delete(location)


class Metadata(InputFile):
    """A file of metadata on this machine. Its errors are Python's: FileNotFoundError, PermissionError, OSError."""

    @property
    def path(self) -> Path:
        """As PyIceberg has it: percent signs are not decoded."""
        return Path(local_path(self.location))

    def __len__(self) -> int:
        return self.path.stat().st_size

    def exists(self) -> bool:
        """Whether it is there."""
        return self.path.exists()

    def open(self, seekable: bool = True) -> BinaryIO:  # noqa: ARG002 - as PyIceberg calls it
        """Its bytes, to read."""
        return self.path.open("rb")
