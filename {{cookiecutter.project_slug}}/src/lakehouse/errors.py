"""The one family of errors: raised where the cause is known, shown by the command line and Dagster as one message."""

DONE_STAYS = "What this command had finished before stays."
# A command may commit to several tables, and a lost connection may hide that the last commit was made.
LAST_CHANGE = f"{DONE_STAYS} Its last change was made whole or not at all."


class LakehouseError(Exception):
    """Something the person at the keyboard can act on. The message says what was wrong, where, and what to do next."""


class SettingsError(LakehouseError):
    """A setting is missing or invalid."""


class DeclarationError(SettingsError):
    """A file of `datasets` can't be used, so nothing that knows datasets can start."""


class BoundaryError(LakehouseError):
    """Home, bucket and catalog are not of one lakehouse, or not whole: nothing is read or changed.

    `found` says what is wrong, `fix` what to do; the message is both.
    """

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found} {fix}")
        self.found, self.fix = found, fix


class BackupError(LakehouseError):
    """A backup could not be written, or can't be restored."""


class SourceError(LakehouseError):
    """The publisher or the source folder did not give the file."""


class NotPublishedError(SourceError):
    """The month does not exist at the source (yet). An answer, not a fault."""


class UnreachableError(SourceError):
    """The publisher could not be asked: no network, no answer, or an answer that is not its own."""


class ChangedError(SourceError):
    """A file of the source changed while it was read. The next attempt may get it whole."""


class LandingError(LakehouseError):
    """The landing zone does not hold what it recorded, or can't be written."""


class LockedError(LakehouseError):
    """Another process holds a lock. The message names the process, the lock file and what to do."""


class RefusedError(LakehouseError):
    """A file that can't be loaded as it is; the tables are as they were."""


class CommitError(LakehouseError):
    """The catalog did not take a commit, or its state could not be found out."""


class UnconfirmedError(CommitError):
    """The answer to a commit was lost. A load, run again, looks first whether it was made; a frame's write does not."""


class OvertakenError(CommitError):
    """Another process changed tables while they were built, tested or published. Another build is enough.

    `found` says what happened, without what a person would do about it.
    """

    def __init__(self, found: str, fix: str = "") -> None:
        super().__init__(f"{found} {fix}".rstrip())
        self.found = found


class QueryError(LakehouseError):
    """SQL that the engine refused, or a version that does not exist."""


class TransformError(LakehouseError):
    """A build could not begin, or dbt failed; the message names the models and tests."""


class ServiceError(LakehouseError):
    """A service (Trino, REST catalog, object store) did not answer."""


def first_line(error: BaseException) -> str:
    """What a library says of an error, for a message: its first line, 200 characters at most; its kind without one."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
