"""Superset's configuration. Addresses and secrets come from the environment: no file of the dashboard has any."""

import os
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import URL
from trino.auth import BasicAuthentication

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = "sqlite:////var/lib/superset/superset.db"
ROW_LIMIT = 10_000


def DB_CONNECTION_MUTATOR(  # noqa: N802 - Superset's name
    uri: URL, params: dict[str, Any], _username: str, _security_manager: object, _source: object
) -> tuple[URL, dict[str, Any]]:
    """Give the database `trino` its address, its user and, over TLS, its password."""
    if uri.get_backend_name() != "trino":
        return uri, params
    address = urlsplit(os.environ["TRINO_URL"])
    user = os.environ["TRINO_USER"]
    arguments = params.setdefault("connect_args", {})
    if address.scheme == "https":
        arguments["http_scheme"] = "https"
        arguments["auth"] = BasicAuthentication(user, os.environ["TRINO_PASSWORD"])
        arguments["verify"] = os.environ["TRINO_CA_FILE"]
    return uri.set(host=address.hostname, port=address.port, username=user), params
