"""Make a CSV file of synthetic weather for each day of January 2024: `python make_days.py FOLDER`.

A file has a reading each three hours: temperature in degrees Celsius, rain in millimetres. The numbers come from a
formula, so they are the same each time. They are not the weather that was.
"""

import csv
import sys
from pathlib import Path

HOURS = range(0, 24, 3)


def readings(day: int) -> list[tuple[str, str, str]]:
    """Time, temperature and rain; it rains on each third day."""
    rows = []
    for hour in HOURS:
        tenths = 20 - 3 * abs(hour - 15) + 7 * day % 50
        rain = (day + hour) % 11 if day % 3 == 0 else 0
        rows.append((f"2024-01-{day:02} {hour:02}:00:00", f"{tenths / 10:.1f}", f"{rain / 10:.1f}"))
    return rows


def main() -> None:
    """Write the files into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for day in range(1, 32):
        with (folder / f"weather_2024-01-{day:02}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("measured_at", "temperature", "rain"))
            writer.writerows(readings(day))


if __name__ == "__main__":
    main()
