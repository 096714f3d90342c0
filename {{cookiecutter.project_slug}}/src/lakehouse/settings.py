"""Every setting of the lakehouse, from the environment and `.env`, in one typed place."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lakehouse.errors import SettingsError
from lakehouse.tlc.months import Month

Target = Literal["embedded", "trino"]

PUBLISHER = "https://d37ci6vzurychx.cloudfront.net"


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

    duckdb_memory_limit: str = Field(default="2GB", alias="DUCKDB_MEMORY_LIMIT")

    trino_port: int = Field(default=8080, alias="TRINO_PORT")
    rest_port: int = Field(default=8181, alias="REST_PORT")
    s3_port: int = Field(default=9000, alias="S3_PORT")

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

    @field_validator("first_month", mode="before")
    @classmethod
    def _parse_month(cls, value: Any) -> Any:
        return Month.parse(value) if isinstance(value, str) else value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return (project_dir() / value.expanduser()).resolve()

    def model_post_init(self, _context: Any) -> None:
        """Fill each service's address from its port where no address is set."""
        for name, port in (("trino_url", self.trino_port), ("rest_url", self.rest_port), ("s3_url", self.s3_port)):
            if not getattr(self, name):
                object.__setattr__(self, name, f"http://127.0.0.1:{port}")

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


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable has a value that can't be meant; the message names each.
    """
    try:
        return Settings(_env_file=project_dir() / ".env")  # type: ignore[call-arg]
    except ValidationError as error:
        wrong = "; ".join(f"{e['loc'][0]}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        raise SettingsError(f"A setting can't be used: {wrong}. Set it in the environment or in .env.") from None
