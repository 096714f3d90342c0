"""What the assets reach the outside with, typed. Secrets are names of environment variables: the UI shows the names."""

# No postponed annotations here: Dagster reads them while it decorates.

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource
from pydantic import Field, SecretStr
from pyiceberg.catalog import Catalog

from lakehouse.engines import Engine, open_engine
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import Landing, open_landing
from lakehouse.settings import Settings, load_settings, project_dir, settings_with


class Publisher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where published files come from: a base URL, or a folder or bucket that is searched by file name."""

    source: str = Field(description="TLC_SOURCE")


class ObjectStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where files live: a folder on `embedded`, a bucket on `trino`."""

    target: str = Field(description="LAKEHOUSE_TARGET: embedded or trino")
    home: str = Field(description="LAKEHOUSE_HOME: the folder of `embedded`")
    url: str = Field(default="", description="S3_URL")
    region: str = Field(default="", description="S3_REGION")
    bucket: str = Field(default="", description="S3_BUCKET")
    access_key: str = Field(default="", description="S3_ACCESS_KEY")
    secret_key: str = Field(default="", description="S3_SECRET_KEY")

    def variables(self) -> dict[str, str]:
        """The settings that this resource decides; those left empty come from the environment."""
        named = {
            "LAKEHOUSE_TARGET": self.target,
            "LAKEHOUSE_HOME": self.home,
            "S3_URL": self.url,
            "S3_REGION": self.region,
            "S3_BUCKET": self.bucket,
            "S3_ACCESS_KEY": self.access_key,
            "S3_SECRET_KEY": self.secret_key,
        }
        return {name: value for name, value in named.items() if value}

    def landing(self) -> Landing:
        """The landing zone in it."""
        return open_landing(settings_with(self.variables()))


class IcebergCatalog(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The Iceberg catalog: SQLite in the store's folder, or a REST catalog."""

    object_store: ObjectStore
    url: str = Field(default="", description="REST_URL")

    def variables(self) -> dict[str, str]:
        """The same by name, for the resources above it."""
        return self.object_store.variables() | ({"REST_URL": self.url} if self.url else {})

    def settings(self) -> Settings:
        """The settings that this resource and its store decide."""
        return settings_with(self.variables())

    def open(self) -> Catalog:
        """A fresh handle on it."""
        return open_catalog(self.settings())


class Trino(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The SQL engine over the catalog: Trino, or DuckDB in this process where the target is `embedded`."""

    catalog: IcebergCatalog
    url: str = Field(default="", description="TRINO_URL")
    user: str = Field(default="", description="TRINO_USER")
    password: str = Field(default="", description="TRINO_PASSWORD, asked for only over TLS")

    def settings(self) -> Settings:
        """The settings that this resource and those below it decide."""
        named = {"TRINO_URL": self.url, "TRINO_USER": self.user, "TRINO_PASSWORD": self.password}
        return settings_with(self.catalog.variables() | {name: value for name, value in named.items() if value})

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """An engine, closed at the end."""
        engine = open_engine(self.settings())
        try:
            yield engine
        finally:
            engine.close()


def secret(name: str, value: SecretStr | None) -> dg.EnvVar | str:
    """A secret by its variable's name, which the run's process looks up; empty where none is set.

    Dagster reads `.env` of the folder it was started in only, so a value that came from the project's `.env` is put
    into the environment here.
    """
    text = value.get_secret_value() if value else ""
    if not text:
        return ""
    os.environ.setdefault(name, text)
    return dg.EnvVar(name)


def resources(settings: Settings) -> dict[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    """The resources of the target, by the names under which assets ask for them."""
    store = ObjectStore(target=settings.target, home=str(settings.home))
    catalog = IcebergCatalog(object_store=store)
    trino = Trino(catalog=catalog)
    if settings.target == "trino":
        store = ObjectStore(
            target=settings.target,
            home=str(settings.home),
            url=settings.s3_url,
            region=settings.s3_region,
            bucket=settings.s3_bucket,
            access_key=settings.s3_access_key,
            secret_key=secret("S3_SECRET_KEY", settings.s3_secret_key),
        )
        catalog = IcebergCatalog(object_store=store, url=settings.rest_url)
        trino = Trino(
            catalog=catalog,
            url=settings.trino_url,
            user=settings.trino_user,
            password=secret("TRINO_PASSWORD", settings.trino_password),
        )
    return {
        "publisher": Publisher(source=settings.tlc_source),
        "object_store": store,
        "catalog": catalog,
        "trino": trino,
        "dbt": DbtCliResource(
            project_dir=str(project_dir() / "dbt"),
            profiles_dir=str(project_dir() / "dbt"),
            target=settings.target,
            # dbt that ends with the run that started it; beside this Python, which need not be on the PATH.
            dbt_executable=str(Path(sys.executable).parent / "lakehouse-dbt"),
        ),
    }


@dg.definitions
def defs() -> dg.Definitions:
    """The resources of this process's settings."""
    return dg.Definitions(resources=resources(load_settings()))
