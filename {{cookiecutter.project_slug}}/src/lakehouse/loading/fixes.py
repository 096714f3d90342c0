"""What to do about a file that is not loaded: the end of a message, by where the dataset's rows come from."""

from __future__ import annotations

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import dataset_named, declaration_of
from lakehouse.landing.record import Landed, again, is_generated

# Other files of the same command may have been loaded before.
NOTHING = "Nothing of this file was loaded."


def fix(dataset: Dataset) -> str:
    """What to do where a file's rows are wrong."""
    if dataset.source:
        return (
            f"{NOTHING} Correct the rows in the database. Or {dataset.source.casting} in "
            f"{declaration_of(dataset)}. Then read the rows again with --refresh."
        )
    if dataset.bundled:
        return f"{NOTHING} Correct the files in the source folder, and load all of them again with --refresh."
    return (
        f"{NOTHING} Load it again with --refresh, which gets the published file again. If that file is wrong too, "
        "correct a copy of it, set TLC_SOURCE to the folder of the copy, and land that with --refresh."
    )


def fix_or_declare(dataset: Dataset, change: str) -> str:
    """What to do where a file or its declaration may be wrong. `change` says what to do in the declaration."""
    if dataset.source:
        others = (
            f"If not, correct the column in the database, or {dataset.source.casting}. Then read the rows again with "
            "--refresh."
        )
    elif dataset.bundled:
        others = "If the file is wrong, correct it in the source folder, and load all of them again with --refresh."
    else:
        others = (
            "If the file is wrong, correct a copy of it, set TLC_SOURCE to the folder of the copy, and load it with "
            "--refresh."
        )
    return f"{NOTHING} {change} in {declaration_of(dataset)}. {others}"


def get_again(landed: Landed) -> str:
    """What to do where the landed bytes are damaged, or not the ones that were landed."""
    if is_generated(landed):  # --refresh is refused while other generated months are here
        return f"{NOTHING} It is a generated file. `make demo` replaces it by the published one, if it can get that."
    command = f"{NOTHING} Run `{again(landed)}`"
    dataset = dataset_named(landed.file.dataset)
    if dataset.source:
        return f"{command}, which reads the rows from the database again."
    if dataset.bundled:
        return (
            f"{command}, which lands all its files again. If that does not help, one of them is damaged in the source "
            "folder too: put a whole copy there."
        )
    return (
        f"{command}, which gets the published file again. If that does not help, the published file is damaged too: "
        "put a whole copy into a folder, set TLC_SOURCE to that folder, and run it again."
    )
