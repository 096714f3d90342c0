"""A PostgreSQL server in a container of its own, as somebody else's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from tests.integration.stack import free_port, image, prepare_testcontainers, start_reaper, within

PASSWORD = "p@ss/word"
ADDRESS = "postgresql+psycopg2://lakehouse:p%40ss%2Fword@127.0.0.1:{port}/rentals"


@dataclass(frozen=True)
class Database:
    """A running server."""

    port: int

    @property
    def address(self) -> str:
        """As RENTALS_URL has it."""
        return ADDRESS.format(port=self.port)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL, in a connection of its own."""
        engine = sa.create_engine(self.address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
            return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def postgres() -> Iterator[Database]:
    """Start it; it ends with the context."""
    prepare_testcontainers()
    from testcontainers.core.container import DockerContainer

    start_reaper()
    database = Database(free_port())
    container: Any = DockerContainer(image("POSTGRES_IMAGE"))
    container.with_envs(POSTGRES_USER="lakehouse", POSTGRES_PASSWORD=PASSWORD, POSTGRES_DB="rentals")
    container.ports["5432/tcp"] = ("127.0.0.1", database.port)
    with container:
        within(60, lambda: database.run("select 1"))
        yield database
