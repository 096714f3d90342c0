"""Makes Superset's administrator and imports the database, datasets, charts and dashboard of the folder `lakehouse`.

What is there by the same uuid is replaced. Charts and dashboards that somebody made in the page stay.
"""

import os
import sys
from pathlib import Path

from superset.app import create_app

FOLDER = Path(__file__).parent / "lakehouse"
NAME = "admin"


def main() -> None:
    """Set the password, then import."""
    # Superset's own modules need the application that runs them.
    from superset import security_manager  # noqa: PLC0415
    from superset.commands.importers.v1.assets import ImportAssetsCommand  # noqa: PLC0415
    from superset.utils.core import override_user  # noqa: PLC0415

    password = os.environ["SUPERSET_ADMIN_PASSWORD"]
    user = security_manager.find_user(username=NAME)
    if user is None:
        role = security_manager.find_role("Admin")
        user = security_manager.add_user(NAME, "Superset", "Admin", "admin@localhost", role, password=password)
    else:
        security_manager.reset_password(user.id, password)
    contents = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.yaml")}
    with override_user(user):
        ImportAssetsCommand(contents).run()
    sys.stdout.write(f"{len(contents) - 1} files were imported\n")


if __name__ == "__main__":
    with create_app().app_context():
        main()
