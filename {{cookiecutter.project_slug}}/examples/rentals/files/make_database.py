"""Make a small database of film rentals, or change it as a day of business does.

`python make_database.py FILE` makes it. With `--next-day`, films come back and rentals are added. The data are made
up, and the same each time.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

TABLE = """
create table rental (
    rental_id integer primary key,
    rental_date text not null,
    title text not null,
    amount text not null,
    return_date text,
    last_update text not null
)
"""
TITLES = ("Metropolis", "Sunrise", "Safety Last!", "The General", "Nosferatu")


def first_days(database: sqlite3.Connection) -> None:
    """Twenty rentals of ten days; the films of the last two days are still out."""
    database.execute(TABLE)
    for number in range(1, 21):
        day = (number + 1) // 2
        rented = f"2024-01-{day:02} {9 + number % 8:02}:30:00"
        returned = f"2024-01-{day + 1:02} 10:00:00" if day < 9 else None
        row = (number, rented, TITLES[number % 5], f"{2 + number % 3}.50", returned, returned or rented)
        database.execute("insert into rental values (?, ?, ?, ?, ?, ?)", row)


def next_day(database: sqlite3.Connection) -> None:
    """Three films come back, and two more are rented."""
    back = "update rental set return_date = :now, last_update = :now where rental_id in (17, 18, 19)"
    database.execute(back, {"now": "2024-01-11 10:00:00"})
    rows = [
        (number, f"2024-01-11 1{number - 20}:15:00", "Sunrise", "3.50", None, f"2024-01-11 1{number - 20}:15:00")
        for number in (21, 22)
    ]
    database.executemany("insert into rental values (?, ?, ?, ?, ?, ?)", rows)


def main() -> None:
    """Make or change the database that the command line names."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        if "--next-day" in sys.argv:
            next_day(database)
        else:
            first_days(database)


if __name__ == "__main__":
    main()
