"""Who refused whom: loader, catalog and Trino each have a user of their own at the object store."""

from __future__ import annotations

# Refused by the object store, the catalog tries again for a minute and a half before it says so.
CATALOG_WAITS = (
    "It may only be slow: run the same command again. If it fails again, look into the catalog's log (`docker compose "
    "logs iceberg-rest`). It may wait for Postgres; or for the object store, if that refuses the catalog's user: then "
    "correct CATALOG_S3_ACCESS_KEY and CATALOG_S3_SECRET_KEY in .env, and run `make stack-up`."
)
_USERS = {
    "loader": ("the loader", "S3"),
    "catalog": ("the catalog", "CATALOG_S3"),
    "trino": ("Trino", "TRINO_S3"),
}


def s3_refuses(said: str) -> bool:
    """Whether these are the words of an S3 client, Arrow's or Java's, whose user or its rights were refused."""
    refused = "AWS Error ACCESS_DENIED" in said or "(Service: S3, Status Code: 403" in said
    return refused and "time too skewed" not in said.lower()  # which is 403 too, and no matter of keys


def refused_user(name: str) -> str:
    """Which user of the object store that was, by its settings, and the fix."""
    who, setting = _USERS[name]
    return (
        f"The object store refuses the user that {who} has there. Correct {setting}_ACCESS_KEY and "
        f"{setting}_SECRET_KEY in .env. For the project's own stack, run `make stack-up`, which makes these users. "
        "Then run the same command again."
    )
