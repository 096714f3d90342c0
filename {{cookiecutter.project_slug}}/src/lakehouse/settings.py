"""Every setting of the lakehouse, from the environment and `.env`, in one typed place."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError
from lakehouse.network import ask_loopback_directly

Target = Literal["embedded", "trino"]

PUBLISHER = "https://d37ci6vzurychx.cloudfront.net"
# What a file's address can't hold as it is: the catalog would write beside such a home, or not at all.
_NO_ADDRESS = re.compile(r"[#?]|%[0-9A-Fa-f]{2}")
# What its clients take.
_HOST = re.compile(r"((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.?")
_REGION = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_RULE = (
    "the name of a bucket must be 3 to 63 lowercase letters, digits, '-' or '.', and must start and end with a letter "
    "or digit"
)
BUCKET_SCHEME = "s3://"
LONGEST_DAYS = 36500  # what may be kept: 100 years
_MEMORY = re.compile(r"\d+(\.\d+)? ?([KMGT]i?B|%)", re.IGNORECASE)


def project_dir() -> Path:
    """The project's root: `LAKEHOUSE_PROJECT_DIR`, else the folder this package was installed from in place."""
    named = os.environ.get("LAKEHOUSE_PROJECT_DIR")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """One value per variable; a variable in the environment wins over `.env`.

    Paths are absolute after validation (relative ones count from the project's root). Secrets print as stars.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    target: Target = Field(default="embedded", alias="LAKEHOUSE_TARGET")
    home: Path = Field(default=Path("data"), alias="LAKEHOUSE_HOME", validate_default=True)
    # NoDecode: the environment says 2024-01, which pydantic-settings would read as JSON.
    first_month: Annotated[Month, NoDecode] = Field(default=Month(2024, 1), alias="LAKEHOUSE_FIRST_MONTH")
    tlc_source: str = Field(default=PUBLISHER, alias="TLC_SOURCE")
    automation: bool = Field(default=False, alias="LAKEHOUSE_AUTOMATION")

    webhook: SecretStr | None = Field(default=None, alias="LAKEHOUSE_WEBHOOK")

    # What maintenance keeps. Days may be parts of one.
    keep_days: float = Field(default=7, ge=0, le=LONGEST_DAYS, allow_inf_nan=False, alias="LAKEHOUSE_KEEP_DAYS")
    unreferenced_days: float = Field(
        default=3, ge=0, le=LONGEST_DAYS, allow_inf_nan=False, alias="LAKEHOUSE_UNREFERENCED_DAYS"
    )
    landing_versions: int | None = Field(default=None, ge=1, alias="LAKEHOUSE_LANDING_VERSIONS")

    duckdb_memory_limit: str = Field(default="2GB", alias="DUCKDB_MEMORY_LIMIT")

    trino_port: int = Field(default=8080, ge=1, le=65535, alias="TRINO_PORT")
    rest_port: int = Field(default=8181, ge=1, le=65535, alias="REST_PORT")
    s3_port: int = Field(default=9000, ge=1, le=65535, alias="S3_PORT")

    trino_url: str = Field(default="", alias="TRINO_URL")
    trino_user: str = Field(default="lakehouse", alias="TRINO_USER")
    trino_password: SecretStr | None = Field(default=None, alias="TRINO_PASSWORD")
    trino_ca_file: Path | None = Field(default=None, alias="TRINO_CA_FILE")
    rest_url: str = Field(default="", alias="REST_URL")
    s3_url: str = Field(default="", alias="S3_URL")
    s3_region: str = Field(default="us-east-1", alias="S3_REGION")
    s3_bucket: str = Field(default="warehouse", alias="S3_BUCKET")
    s3_access_key: str = Field(default="lakehouse", alias="S3_ACCESS_KEY")
    s3_secret_key: SecretStr = Field(default=SecretStr(""), alias="S3_SECRET_KEY")

    # The store of a bucket that TLC_SOURCE names; see `_fill_source_store`.
    source_s3_url: str = Field(default="", alias="SOURCE_S3_URL")
    source_s3_region: str = Field(default="", alias="SOURCE_S3_REGION")
    source_s3_access_key: str = Field(default="", alias="SOURCE_S3_ACCESS_KEY")
    source_s3_secret_key: SecretStr = Field(default=SecretStr(""), alias="SOURCE_S3_SECRET_KEY")

    @field_validator("first_month", mode="before")
    @classmethod
    def _parse_month(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return Month.parse(value)
        except SettingsError as error:
            raise ValueError(str(error)) from None  # as pydantic wants it, which adds the variable's name

    @field_validator("automation", mode="before")
    @classmethod
    def _on_or_off(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lower() not in ("on", "off"):
            raise ValueError("write it as on or off")
        return value.lower() == "on"

    @field_validator("home", "trino_ca_file", mode="before")
    @classmethod
    def _no_address(cls, value: Any) -> Any:
        if isinstance(value, str) and "://" in value:
            raise ValueError("this is an address; write the path of a folder or file on this machine, without '://'")
        return value

    @field_validator("home", "trino_ca_file", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else _from_root(value)

    @field_validator("home", mode="after")
    @classmethod
    def _addressable(cls, value: Path, info: ValidationInfo) -> Path:
        found = _NO_ADDRESS.findall(str(value))
        if found and info.data.get("target") == "embedded":
            raise ValueError(
                f"the path {value} contains {' and '.join(map(repr, sorted(set(found))))}, which Iceberg would "
                "misread in the addresses of files; choose a folder without '#', '?' and '%' with two digits"
            )
        return value

    @field_validator("tlc_source", mode="after")
    @classmethod
    def _url_or_folder(cls, value: str) -> str:
        if "://" not in value:
            return str(_from_root(Path(value)))
        if value.startswith(BUCKET_SCHEME):
            if not _BUCKET.fullmatch(bucket_and_prefix(value)[0]):
                raise ValueError(f"{_BUCKET_RULE}; write it as s3://bucket/folder")
            return value
        address = urlsplit(value)
        address.port  # noqa: B018 - says what is wrong with an address that is none
        if address.scheme not in ("http", "https", "file") or (address.scheme != "file" and not address.hostname):
            raise ValueError(
                "such an address can't be used; write it as https://host, as s3://bucket/folder, or as the path of a "
                "folder on this machine, without '://'"
            )
        return value

    @field_validator("trino_url", "rest_url", "s3_url", "source_s3_url", mode="after")
    @classmethod
    def _service_address(cls, value: str) -> str:
        address = urlsplit(value)
        address.port  # noqa: B018 - says what is wrong with a port that is none
        if value and (address.scheme not in ("http", "https") or not address.hostname):
            raise ValueError("this is no address of a service; write it as http://host:port or https://host:port")
        return value

    @field_validator("s3_url", "source_s3_url", mode="after")
    @classmethod
    def _store_address(cls, value: str) -> str:
        host = urlsplit(value).hostname or ""
        if host and ":" not in host and not _HOST.fullmatch(host):
            raise ValueError(
                f"the name {host!r} can't be used for an object store; write a name of letters, digits and '-', with "
                "'.' between its parts, such as http://my-store:9000"
            )
        return value

    @field_validator("s3_region", "source_s3_region", mode="after")
    @classmethod
    def _region(cls, value: str) -> str:
        if value and not _REGION.fullmatch(value):
            raise ValueError("this is no name of a region; write it with letters, digits and '-', such as us-east-1")
        return value

    @field_validator("webhook", mode="after")
    @classmethod
    def _web_address(cls, value: SecretStr | None) -> SecretStr | None:
        address = urlsplit(value.get_secret_value()) if value else None
        if address and (address.scheme not in ("http", "https") or not address.hostname):
            raise ValueError("this is no address on the web; write it as https://host/path")
        return value

    @field_validator("duckdb_memory_limit", mode="after")
    @classmethod
    def _size(cls, value: str) -> str:
        if not _MEMORY.fullmatch(value):
            raise ValueError("this is no size of memory; write it as 2GB or 500MB")
        return value

    @field_validator("s3_bucket", mode="after")
    @classmethod
    def _bucket_name(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value):
            raise ValueError(_BUCKET_RULE)
        return value

    def model_post_init(self, _context: Any) -> None:
        """Fill each service's address from its port where no address is set."""
        for name, port in (("trino_url", self.trino_port), ("rest_url", self.rest_port), ("s3_url", self.s3_port)):
            if not getattr(self, name):
                object.__setattr__(self, name, f"http://127.0.0.1:{port}")
        self._fill_source_store()

    def _fill_source_store(self) -> None:
        """Without an address of its own, a source's bucket is in the lakehouse's store; without keys, by its user."""
        filled: dict[str, Any] = {}
        if not self.source_s3_url:
            filled["source_s3_url"] = self.s3_url
            if not self.source_s3_access_key:
                filled |= {"source_s3_access_key": self.s3_access_key, "source_s3_secret_key": self.s3_secret_key}
        if not self.source_s3_region:
            filled["source_s3_region"] = self.s3_region
        for name, value in filled.items():
            object.__setattr__(self, name, value)

    @property
    def landing_dir(self) -> Path:
        """Where `embedded` keeps landed files."""
        return self.home / "landing"

    @property
    def warehouse_dir(self) -> Path:
        """Where `embedded` keeps Iceberg's files."""
        return self.home / "warehouse"

    @property
    def catalog_file(self) -> Path:
        """The SQLite file of the `embedded` catalog."""
        return self.home / "catalog.db"


def bucket_and_prefix(address: str) -> tuple[str, str]:
    """The two parts of `s3://bucket/folder`; the second is empty for all of the bucket."""
    bucket, _, prefix = address.removeprefix(BUCKET_SCHEME).partition("/")
    return bucket, prefix.strip("/")


def variable(name: str) -> str:
    """What the environment, else `.env`, says of a variable that is no setting; empty if neither has it.

    Raises:
        SettingsError: `.env` can't be read.
    """
    return os.environ.get(name) or in_file(name)


def in_file(name: str) -> str:
    """What `.env` says of a variable; empty if it does not have it.

    Raises:
        SettingsError: `.env` can't be read.
    """
    file = project_dir() / ".env"
    try:
        return dotenv_values(file).get(name) or ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: OSError | UnicodeDecodeError) -> SettingsError:
    reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
    return SettingsError(
        f"The file of settings {file} can't be read: {reason}. The command did not start. See that you may read "
        "the file and that it is a text file; .env.example shows what belongs in it."
    )


def _from_root(path: Path) -> Path:
    """Absolute, counted from the project's root; `~` is the home of the user who runs this."""
    try:
        whole = project_dir() / path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path.parts[0]!r} can't be resolved: no such user on this machine") from None
    try:
        return whole.resolve()
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{whole} can't be followed, because its links form a loop ({error})") from None


def _variable(loc: int | str) -> str:
    """A setting's variable; of a default that can't be used, pydantic names the field."""
    field = Settings.model_fields.get(str(loc))
    return (field and field.alias) or str(loc)


def _shown(error: ErrorDetails) -> str:
    """The value that can't be used, unless it is a secret."""
    field = Settings.model_fields.get(str(error["loc"][0])) or next(
        (field for field in Settings.model_fields.values() if field.alias == error["loc"][0]), None
    )
    is_secret = field is not None and "SecretStr" in str(field.annotation)
    return "" if is_secret else f" (it is {str(error['input'])!r})"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable has an invalid value (the message names each), or `.env` can't be read.
    """
    return settings_with({})


def settings_with(variables: dict[str, str]) -> Settings:
    """The same, with `variables` in place of what the environment says. Services on this machine are asked directly.

    Raises:
        SettingsError: as above.
    """
    file = project_dir() / ".env"
    try:
        found = Settings(_env_file=file, **variables)  # type: ignore[call-arg, arg-type]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{_variable(e['loc'][0])}: {e['msg'].removeprefix('Value error, ')}{_shown(e)}" for e in error.errors()
        )
        raise SettingsError(
            f"A setting can't be used: {wrong}. The command did not start. Correct the setting in the environment or "
            "in .env."
        ) from None
    ask_loopback_directly((found.trino_url, found.rest_url, found.s3_url, found.source_s3_url))
    return found
