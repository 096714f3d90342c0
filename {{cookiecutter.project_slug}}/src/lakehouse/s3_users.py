"""Who refused whom: loader, catalog and Trino each have a user of their own at the object store."""

from __future__ import annotations

# Refused by the object store, the catalog tries again for a minute and a half before it says so.
CATALOG_WAITS = (
    "Its log says what it waits for: Postgres, or the object store, which may refuse its user "
    "(CATALOG_S3_ACCESS_KEY and CATALOG_S3_SECRET_KEY). When that is put right, try again."
)
_USERS = {"loader": "S3", "catalog": "CATALOG_S3", "trino": "TRINO_S3"}


def s3_refuses(said: str) -> bool:
    """Whether these are the words of an S3 client, Arrow's or Java's, whose user or its rights were refused."""
    refused = "AWS Error ACCESS_DENIED" in said or "(Service: S3, Status Code: 403" in said
    return refused and "time too skewed" not in said.lower()  # which is 403 too, and no matter of keys


def refused_user(name: str) -> str:
    """Which user of the object store that was, by its settings, and the fix."""
    setting = _USERS[name]
    return (
        f"The object store refuses the user of the {name}: correct {setting}_ACCESS_KEY and {setting}_SECRET_KEY. "
        "`make stack-up` makes the users as .env names them; then try again."
    )
