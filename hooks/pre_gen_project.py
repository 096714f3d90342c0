"""Refuses answers that can't make a working project, with one sentence each. Runs before anything is written.

Standard library only: it runs in whatever Python cookiecutter was installed with.
"""

import json
import re
import sys
from datetime import date

# Answers are data. `tojson` escapes quotes and line breaks, and a raw string leaves its backslashes alone, so no answer
# can end the string or become code.
ANSWERS = r"""
{{ cookiecutter | tojson }}
"""

SLUG = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
EMAIL = re.compile(r"[A-Za-z0-9_%+-]+(?:\.[A-Za-z0-9_%+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
LONGEST_SLUG = 50
FIRST_PUBLISHED = "2009-01"
# Windows can't make a folder of these names; the last one would shadow the package inside the project.
TAKEN = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10)), "lakehouse"}
ONE_LINE = {
    "project_name": "The project name",
    "description": "The description",
    "author_name": "The author's name",
}


def problems(answers: dict[str, str], today: date) -> list[str]:
    """One sentence for each answer that can't be used."""
    found = []
    for key, label in ONE_LINE.items():
        if not answers[key].strip():
            found.append(f"{label} is empty; type a few words.")
        elif not answers[key].isprintable():
            found.append(f"{label} holds a line break or another control character; keep it to one plain line.")
    slug = answers["project_slug"]
    if not SLUG.fullmatch(slug) or len(slug) > LONGEST_SLUG:
        found.append(
            f"The project slug {slug!r} can't name a folder, a Python distribution and containers at once. Begin with "
            f"a lower-case letter and use lower-case letters, digits and single - or _, at most {LONGEST_SLUG} of them."
        )
    elif slug in TAKEN:
        found.append(f"The project slug {slug!r} is taken by the system or by the package inside; choose another.")
    if not EMAIL.fullmatch(answers["author_email"]):
        found.append(f"The e-mail address {answers['author_email']!r} is not of the form name@example.com.")
    month = answers["first_month"]
    if not MONTH.fullmatch(month):
        found.append(f"The first month {month!r} is not a month of the form YYYY-MM.")
    elif not FIRST_PUBLISHED <= month <= f"{today:%Y-%m}":
        found.append(f"The first month {month} is outside what the TLC publishes, {FIRST_PUBLISHED} up to now.")
    return found


def main() -> int:
    """Print what is wrong and say by the exit code whether to go on."""
    found = problems(json.loads(ANSWERS), date.today())  # noqa: DTZ011 - the month where the person sits
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
