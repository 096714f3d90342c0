"""Faults planted one at a time in a copy of a bake's source: each turns a named test red, for its own reason.

The mistakes that are made in SQL are planted in the project's own tests/dbt/test_planted_mistakes.py; the one that
needs Trino, dbt-trino's default of dropping a mart with its history, in tests/integration/test_gold_parity.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.baking import PROJECT_DIR, export
from tests.conftest import BakedProject

COMMITS, REFS, LOADING = "iceberg/commit.py", "iceberg/refs.py", "loading/load.py"
FILES, ACCEPTANCE = "iceberg/files.py", "loading/acceptance.py"
MAINTENANCE, CONVERT = "history/maintenance.py", "loading/convert.py"


@dataclass(frozen=True)
class Fault:
    """Texts to replace in a file, each there exactly once; who must notice, and what it must say.

    The file is one of src/lakehouse, where nothing else is said.
    """

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    noticed_by: str
    says: str


FAULTS = (
    Fault(
        "trips count once for each reason that a month's rows were rejected for",
        "report/dashboard.py",
        (("(select distinct service_type, file_month from", "(select service_type, file_month from"),),
        "test_dashboard.py::test_every_number_is_that_of_silver[one]",
        r"trips-by-day",
    ),
    Fault(
        "the dashboard shows gold as it is beside a publication's name",
        "report/dashboard.py",
        (("engine.query(question.sql, as_of=publication)", "engine.query(question.sql)"),),
        "test_dashboard.py::test_what_is_published_is_shown_not_what_was_built_since",
        r"trips-by-day",
    ),
    Fault(
        "manifests that no reader needs are kept",
        "iceberg/transaction.py",
        ((" if manifest.has_added_files() or manifest.has_existing_files()]", "]"),),
        "test_transaction.py::test_a_month_replaced_again_and_again_leaves_no_manifest_behind",
        r"assert \[0, 0, ",
    ),
    Fault(
        "a month that changed is not tested again",
        "tested_parts.py",
        (("        found |= changed(table, snapshot, table.current_snapshot())\n", ""),),
        "test_tested_parts.py::test_each_test_is_asked_of_what_it_has_not_seen_itself",
        r"'silver.stg_green_trips': \[\]",
    ),
    Fault(
        "a run whose tests saw less than it changed counts",
        "tested_parts.py",
        ((" or not {day.isoformat() for day in new} <= set(parts):", ":"),),
        "test_tested_parts.py::test_a_run_that_changed_more_than_its_tests_saw_proves_nothing",
        r"assert set\(\) == \{",
    ),
    Fault(
        "two snapshots for a load",
        COMMITS,
        (
            (
                "    old = replacement.files(table)\n    transaction",
                "    if replacement.files(table):\n        table.delete(replacement.predicate)\n"
                "    old = replacement.files(table)\n    transaction",
            ),
        ),
        "test_loading.py::test_a_restated_month_replaces_its_rows_in_one_snapshot",
        r"assert \(520, 0, 820\) == \(520, 500, 820\)",
    ),
    Fault(
        "a month of several at once commits before its turn",
        "loading/jobs.py",
        (
            (
                "            if worker.waits and worker.place == self.turn:",
                "            if worker.waits and (worker.place or self.loaded):",
            ),
        ),
        "test_jobs.py::test_at_once_makes_what_one_after_another_makes",
        r"At index 0 diff: \('2024-0[2-4]', ",
    ),
    Fault(
        "a load by the month of pickup",
        FILES,
        (
            (
                "    by_name: Any = EqualTo  # its stub knows bound terms only\n",
                "    from pyiceberg import expressions\n",
            ),
            (
                "    predicate: BooleanExpression = by_name(column, part.first_day.isoformat())\n",
                "    predicate = expressions.And(\n"
                '        expressions.GreaterThanOrEqual("pickup_datetime", f"{part.first_day}T00:00:00"),\n'
                '        expressions.LessThan("pickup_datetime", f"{part.next.first_day}T00:00:00"),\n'
                "    )\n",
            ),
        ),
        "test_loading.py::test_a_row_belongs_to_the_month_of_its_file",
        r"assert \[\] == \[datetime",
    ),
    Fault(
        "the overwrite's predicate left out",
        COMMITS,
        (("        snapshot.delete_by_predicate(replacement.predicate)\n", ""),),
        "test_commits.py::test_a_commit_to_another_month_meanwhile_is_rebased_over",
        r"the load of January started again",
    ),
    Fault(
        "a retry that doubles a month whose commit was not answered",
        COMMITS,
        (
            ("            if arrived := next(", "            if 0 and next("),
            ("                return arrived\n", "                raise AssertionError\n"),
            ("            if replacement.is_held(table):\n", "            if 0:\n"),
            (
                "    old = replacement.files(table)\n",
                "    old = [] if unanswered else replacement.files(table)\n",
            ),
        ),
        "test_commits.py::test_a_commit_whose_answer_is_lost_leaves_the_month_once[after it was taken]",
        r"assert \[500, 520, 1040\] == \[500, 520\]",
    ),
    Fault(
        "retention ignored on expiry",
        MAINTENANCE,
        (("(datetime.now(UTC) - keep)", "datetime.now(UTC)"),),
        "test_maintenance.py::test_young_snapshots_and_young_files_stay",
        r"assert \(1, 4\) == \(0, 0\)",
    ),
    Fault(
        "names ignored on expiry",
        MAINTENANCE,
        ((" and s.snapshot_id not in named]", " and s.snapshot_id != table.metadata.current_snapshot_id]"),),
        "test_maintenance.py::test_what_is_current_or_has_a_name_stays_and_answers_as_before",
        r"assert \[\d+\] == \[\d+, \d+\]",
    ),
    Fault(
        "orphan removal that takes young files",
        MAINTENANCE,
        (("        if facts.st_mtime <= limit:\n", "        if True:\n"),),
        "test_maintenance.py::test_young_snapshots_and_young_files_stay",
        r"assert \(0, 1\) == \(0, 0\)",
    ),
    Fault(
        "the audit skipped",
        "iceberg/staging.py",
        (("        audit(table, file, written)\n", ""),),
        "test_loading.py::test_damage_between_writing_and_reading_back_is_refused",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a merge into a state that is no longer the table's",
        LOADING,
        (("            if (current.snapshot_id if current else None) != base:\n", "            if False:\n"),),
        "test_merging.py::test_a_merge_begins_again_where_others_changed_the_table",
        r"Merged\(inserted=1, updated=0, unchanged=1",
    ),
    Fault(
        "a merge that writes all data files again",
        "iceberg/merge.py",
        (("enumerate(stays) if not mask.all()]", "enumerate(stays)]"),),
        "test_merging.py::test_a_data_file_without_a_changed_row_is_not_written_again",
        r"assert .* in \{",
    ),
    Fault(
        "landed bytes not held against their hash",
        ACCEPTANCE,
        (("    if found != landed.sha256:\n", "    if False:\n"),),
        "test_loading.py::test_bytes_that_changed_since_landing_are_refused",
        r"Expected regex: 'was changed after it was landed'",
    ),
    Fault(
        "the shrink guard off",
        ACCEPTANCE,
        (("        if self.allow_shrink or not ", "        if True or not "),),
        "test_acceptance.py::test_an_empty_or_shrunken_month_is_refused_unless_meant",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a tag that moves",
        REFS,
        (
            (
                '        raise QueryError(\n            f"{name} already has a {taken',
                '        str(\n            f"{name} already has a {taken',
            ),
        ),
        "test_refs.py::test_a_tag_does_not_move",
        r"DID NOT RAISE.*QueryError",
    ),
    Fault(
        "--expect ignored by rollback",
        REFS,
        (("    if expect is not None and current != expect:\n", "    if False:\n"),),
        "test_refs.py::test_a_rollback_of_what_someone_else_changed_is_refused",
        r"DID NOT RAISE.*CommitError",
    ),
    Fault(
        "a secret told with an error",
        "iceberg/rest_catalog.py",
        (("The object store at {catalog.properties.get('s3.endpoint')} failed", "{catalog.properties} failed"),),
        "test_catalog.py::test_a_catalog_or_store_that_fails_is_named_and_its_secret_is_not",
        r"assert 'secret-of-the-loader' not in ",
    ),
    Fault(
        "a parameter put into the text of the statement",
        "engines/duckdb.py",
        (
            (
                "connection.sql(sql, params=list(parameters) or None)",
                "connection.sql(sql.replace('?', \"'{}'\").format(*parameters))",
            ),
        ),
        "test_duckdb_engine.py::test_a_parameter_is_never_read_as_sql",
        r"assert \[\{'name'.*'other'.*\] == \[\{'name'",
    ),
    Fault(
        "months loaded in another order than asked for",
        "cli/load.py",
        (("for part in found]\n", "for part in sorted(found, key=str)]\n"),),
        "test_cli.py::test_months_are_loaded_in_the_order_given",
        r"assert \['2023-12', .*\] == \['2024-02', ",
    ),
    Fault(
        "the zone lookup loaded twice",
        ACCEPTANCE,
        (('same = last is not None and last.get("lakehouse.source-sha256") == self.sha256', "same = False"),),
        "test_zones.py::test_the_same_lookup_makes_no_snapshot_and_a_newer_replaces_it",
        r"assert \('loaded', 'loaded', 'loaded'\) == \('loaded', 'unchanged', 'loaded'\)",
    ),
    Fault(
        "published although a test is red",
        "history/publish.py",
        (
            ("done = build(settings, wait=wait,", "done = build(settings, data_tests=False, wait=wait,"),
            (
                "        missing = untested(settings, tables)\n        if missing and missing.tests",
                "        missing = None\n        if missing and missing.tests",
            ),
        ),
        "test_publishing.py::test_nothing_is_published_while_a_test_of_the_data_is_red",
        r"DID NOT RAISE.*TransformError",
    ),
    Fault(
        "what dbt has parsed is thrown away",
        "dbt_process.py",
        (("        ahead.give()\n", "        pass\n"),),
        "test_dbt_start.py::test_dbt_has_parsed_when_it_is_told_and_sees_what_changed_since",
        r"Unable to do partial parsing",
    ),
    Fault(
        "a test is left out though its mart is made again",
        "tested.py",
        (("if not made.isdisjoint(notes[node] or ())}", "if False}"),),
        "test_tested.py::test_what_reads_a_mart_that_is_made_again_is_asked_too",
        r"of_mart",
    ),
    Fault(
        "a command that was refused ends as if all was well",
        "short_process.py",
        (("        os._exit(self.code)\n", "        os._exit(0)\n"),),
        "test_short_process.py::test_the_exit_code_is_the_program_s[run_short(lambda: sys.exit(2))-2]",
        r"assert 0 == 2",
    ),
    Fault(
        "a catalog older than its files taken for whole",
        "iceberg/identity.py",
        (("    if same:\n        raise BoundaryError(\n", "    if not same:\n        raise BoundaryError(\n"),),
        "test_identity.py::test_a_catalog_older_than_its_files_is_refused",
        r"DID NOT RAISE.*BoundaryError",
    ),
    Fault(
        "cleaning outside the table's folder",
        MAINTENANCE,
        (("(used - _paths(referenced(table))) & files.keys():", "used - _paths(referenced(table)):"),),
        "test_maintenance.py::test_a_file_outside_the_table_stays_when_its_snapshot_expires",
        r"assert False",
    ),
    Fault(
        "expiry that does not ask for tags",
        MAINTENANCE,
        (('            raise CommitFailedException("a branch or tag moved")\n', "            pass\n"),),
        "test_maintenance.py::test_a_tag_given_while_snapshots_expire_keeps_its_snapshot",
        r"assert 1 == 0|ValidationError|KeyError|meanwhile",
    ),
    Fault(
        "a gap in the log taken for none",
        "iceberg/timeline.py",
        (("or not (exact or _follows(table, log, past)):", "or False:"),),
        "test_timeline.py::test_a_state_that_has_expired_is_an_error_that_names_the_nearest",
        r"DID NOT RAISE.*QueryError",
    ),
    Fault(
        "commits stamped by the clock alone",
        "iceberg/timeline.py",
        (("update.snapshot.timestamp_ms < least\n", "update.snapshot.timestamp_ms < 0\n"),),
        "test_timeline.py::test_commits_keep_their_order_when_a_clock_was_wrong[-7200]",
        r"assert \[",
    ),
    Fault(
        "the project's own names free for all",
        REFS,
        (("    if name in (MAIN, BRANCH) or name.startswith(TAG_PREFIX):\n", "    if False:\n"),),
        "test_refs.py::test_a_name_that_the_project_itself_gives_is_refused[publication-2020-audit]",
        r"DID NOT RAISE.*QueryError",
    ),
    Fault(
        "a file of another month taken",
        "loading/reading.py",
        (("        if not change.allow_strays:\n", "        if False:\n"),),
        "test_acceptance.py::test_a_file_of_another_month_is_refused_by_name",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "midnight made of a day",
        CONVERT,
        (("    return bool(pc.any(pc.equal(pc.binary_length(text), 10)).as_py())", "    return False"),),
        "test_brought.py::test_a_file_is_loaded_exactly_or_refused_with_cause_and_way_out[a-time-without-its-time-of-day]",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a count that gold can't sum",
        CONVERT,
        (('    if column.type in ("long", "double"):\n', '    if column.type == "double":\n'),),
        "test_brought.py::test_a_file_is_loaded_exactly_or_refused_with_cause_and_way_out[a-count-that-no-sum-could-hold]",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a query that writes",
        "engines/read_only.py",
        (("    if word not in _READING:\n", "    if False:\n"),),
        "test_read_only.py::test_nothing_is_written",
        r"assert 0 != 0|assert 'COPY' in",
    ),
    Fault(
        "services asked through a proxy",
        "settings.py",
        (("    ask_loopback_directly((found.trino_url, found.rest_url, found.s3_url, found.source_s3_url))\n", ""),),
        "test_network.py::test_no_client_takes_a_proxy_to_this_machine",
        r"assert all|assert False|assert \[",
    ),
    Fault(
        "`.env` over the environment in Dagster",
        "env_file.py",
        ((" if not os.environ.get(name)}", "}"),),
        "test_env_file.py::test_dagsters_reader_leaves_alone_what_the_environment_says",
        r"assert \{.*LAKEHOUSE_HOME",
    ),
    Fault(
        "a bundle without a file that came meanwhile",
        "sources/copying.py",
        (("        raise _changed(changed[0])\n", "        pass\n"),),
        "test_shared_parts.py::test_files_that_change_while_they_are_copied_do_not_land[comes]",
        r"DID NOT RAISE.*SourceError",
    ),
    Fault(
        "an object of a bucket read without its ETag",
        "sources/objects.py",
        ((", IfMatch=path.stat().etag", ""),),
        "test_source_bucket.py::test_files_that_change_while_they_are_copied_do_not_land[replaced]",
        r"Regex pattern did not match|DID NOT RAISE.*SourceError",
    ),
    Fault(
        "rows of a bundle counted from its beginning",
        "loading/landed_reader.py",
        (("self._reader.place(row - self._first)", "self._reader.place(row)"),),
        "test_shared_parts.py::test_a_refusal_names_the_file_and_the_row_in_it[value]",
        r"Regex pattern did not match",
    ),
    Fault(
        "an extract that leaves out rows of an equal time",
        "sources/query.py",
        (('f"({column} >= {literal} or', 'f"({column} > {literal} or'),),
        "test_cursor.py::test_rows_of_an_equal_time_arrive_without_an_overlap",
        r"assert \[\] == \[3, 4\]",
    ),
    Fault(
        "an extract that is loaded where the table does not reach",
        "loading/cursor.py",
        (("landed.since.read(_cursor(dataset).kind) <= begin", "True"),),
        "test_cursor.py::test_after_a_roll_back_the_missing_rows_are_extracted_again",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a time in the future that ends all extracts",
        "loading/cursor.py",
        (("    limit = _limit(column)\n", "    limit = None\n"),),
        "test_cursor.py::test_a_time_in_the_future_does_not_end_all_extracts",
        r"assert \[9\] == \[2, 3, 4, 9\]",
    ),
    Fault(
        "a record that says where other rows began",
        "landing/zone.py",
        (("last_modified=new.last_modified, since=new.since)", "last_modified=new.last_modified)"),),
        "test_cursor.py::test_the_same_bytes_with_another_beginning_can_be_loaded",
        r"last_update from 2024-01-03 09:00:00",
    ),
    Fault(
        "rows that are set aside are added after the load's commit",
        "loading/set_aside.py",
        (("    with discarding(table, files):\n        rejected.add(aside)\n", ""),),
        "test_set_aside.py::test_after_a_kill_the_next_load_puts_it_right[False-commit-after]",
        r"assert \[2, 3\] == \[0, 1, 2, 3\]",
    ),
    Fault(
        "a row that is set aside removes the row of its key",
        "iceberg/merge.py",
        (("        removes = complete and not self.unknown\n", "        removes = complete\n"),),
        "test_set_aside.py::test_while_a_key_is_unknown_no_row_is_removed",
        r"removed=2",
    ),
    Fault(
        "lines of delimiters counted as lines of a footer",
        "formats/text.py",
        (
            (
                "        count -= not nothing.fullmatch(text, start, end)\n",
                "        count -= bool(text[start:end].strip())\n",
            ),
        ),
        "test_odd_csvs.py::test_an_odd_file_is_read_exactly_as_declared[a footer above lines of delimiters]",
        r"'id' has 'Total'",
    ),
    Fault(
        "a total loaded as a row",
        "formats/text.py",
        (("        if not self._declared.footer_rows:\n", "        if True:\n"),),
        "test_odd_csvs.py::test_an_odd_file_is_read_exactly_as_declared[a footer]",
        r"has 1 values; expected 4|'id' has 'Total'",
    ),
    Fault(
        "words for no value that count in columns with words of their own",
        "loading/spelling.py",
        (("declared.nulls if column.nulls is None else column.nulls)", "declared.nulls)"),),
        "test_odd_csvs.py::test_the_words_of_a_column_stand_in_place_of_those_of_all",
        r"'price' has '-'",
    ),
    Fault(
        "a guess that makes null of words in text",
        "scaffold/guess.py",
        (('nulls=() if has_nulls and found.type == "string" else None', "nulls=None"),),
        "test_new_dataset.py::test_a_word_for_null_in_numbers_stays_text_in_columns_of_text",
        r"'country': None",
    ),
    Fault(
        "of several versions of a row, the oldest counts",
        "loading/file_rows.py",
        (("order by {by} desc nulls last) as place", "order by {by} nulls last) as place"),),
        "test_merging.py::test_of_rows_with_one_key_the_last_in_the_declared_order_counts",
        r"\{1: 'Ann', 2: 'Bob'\} == \{1: 'Anna', 2: 'Bob'\}",
    ),
    Fault(
        "an extract without its overlap",
        "datasets/sources.py",
        (("                    return position - overlap\n", "                    return position\n"),),
        "test_cursor.py::test_rows_within_the_overlap_and_of_an_equal_time_arrive",
        r"assert \[3, 5\] == \[2, 3, 4, 5\]",
    ),
    Fault(
        "a bad row that comes again taken for something new",
        LOADING,
        ((" and has_cursor(dataset) and rejected.lacks(aside)\n", "\n"),),
        "test_cursor.py::test_a_bad_row_that_comes_again_is_nothing_new",
        r"'loaded', 1, 1\) == \(\[2, 3\], 'unchanged', 1, 1\)",
    ),
    Fault(
        "a bad row that was loaded later stays set aside",
        "loading/set_aside.py",
        (("            goes |= _reach(self.landed.since, self.dataset, row[1])\n", "            pass\n"),),
        "test_cursor.py::test_after_the_declaration_is_mended_rows_of_an_extract_move[True]",
        r"\('loaded', 0, \[1, 2\]\) == \('loaded', 0, \[1\]\)",
    ),
    Fault(
        "a file of a bundle read without its checksum",
        "formats/bundle.py",
        (("        if found != self.crc:\n", "        if False:\n"),),
        "test_shared_parts.py::test_a_damaged_bundle_is_refused[bytes]",
        r"DID NOT RAISE.*RefusedError",
    ),
    Fault(
        "a line that can't be read, set aside with the number of another",
        "formats/csv.py",
        (("        self._ahead[row.number - 2] = Unread(", "        self._ahead[row.number - 1] = Unread("),),
        "test_odd_csvs.py::test_names_that_come_again_are_a_bad_row",
        r"4: 'x,1'",
    ),
    Fault(
        "a child that sees the caller's variables",
        "children.py",
        (("        if name.upper() in _PASSED or name.upper().startswith(_PASSED_PREFIX)\n", ""),),
        "test_transform.py::test_a_dbt_process_sees_no_variable_that_steers_it",
        r"assert not \{.*DBT_EMPTY",
    ),
    Fault(
        "a publisher that has not the files, called well by the doctor",
        "cli/doctor.py",
        (("    if answer.is_success:\n", "    if status < 500:\n"),),
        "test_network.py::test_the_doctor_says_what_a_site_answers[404-has no zone lookup, it answers 404]",
        r"has no zone lookup, it answers 404",
    ),
    Fault(
        "generated months beside published ones in the demo",
        "cli/demo.py",
        (("    if real := _real_months(settings, landing):\n", "    if real := list[str]():\n"),),
        "test_demo.py::test_nothing_is_generated_beside_published_months",
        r"DID NOT RAISE.*UnreachableError",
    ),
    Fault(
        "names from files as HTML in the report",
        "report/page.py",
        (("        autoescape=True,\n", "        autoescape=False,\n"),),
        "test_report.py::test_names_from_files_are_text_in_the_page",
        r"assert '<script' not in ",
    ),
)
# The same in files of the project that are no code, from its root.
FILE_FAULTS = (
    Fault(
        "Trino's port open to the network",
        "deploy/stack.yaml",
        (("127.0.0.1:${TRINO_PORT:-8080}:8080", "${TRINO_PORT:-8080}:8080"),),
        "test_compose_files.py::test_every_published_port_is_on_loopback[deploy/stack.yaml]",
        r"\('trino', '\$\{TRINO_PORT:-8080\}:8080'\)",
    ),
    Fault(
        "a deployment that is begun without a password",
        "Makefile",
        (('Add it to .env, with a password of your own." >&2; exit 1; }', '" >&2; }'),),
        "test_compose_files.py::test_a_deployment_without_a_password_of_its_database_is_not_begun",
        r"Nothing was started. Add it to .env",
    ),
)
# And in workflows, which the template's own tests look at.
WORKFLOW_FAULTS = (
    Fault(
        "a workflow that may write",
        f"{PROJECT_DIR}/.github/workflows/ci.yml",
        (("permissions: {}\n", "permissions: write-all\n"),),
        f"test_workflows.py::test_rights_are_none_at_the_top_and_reading_in_a_job[{PROJECT_DIR}/.github/workflows/ci.yml]",
        r"assert 'write-all' == \{\}",
    ),
)


@dataclass(frozen=True)
class Copy:
    """What the named tests need of a baked project or the template, and the environment that is installed there."""

    path: Path
    project: BakedProject
    tests: str = "tests/unit"

    def plant(self, fault: Fault, folder: str = "src/lakehouse") -> None:
        """Change the source; the text that the fault changes must still be there."""
        file = self.path / folder / fault.file
        text = file.read_text(encoding="utf-8")
        for old, new in fault.changes:
            assert text.count(old) == 1, f"{fault.file} has {text.count(old)} times: {old}"
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")

    def failures(self, *names: str) -> dict[str, str]:
        """Run tests on the copy's source; what the red ones said, by name."""
        report = self.path / "report.xml"
        command = [str(self.project.path / ".venv" / "bin" / "python"), "-m", "pytest", "-vv", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", "--tb=short", *(f"{self.tests}/{name}" for name in names)]
        said = subprocess.run(
            command,
            cwd=self.path,
            env=self.project.environment(PYTHONPATH=str(self.path / "src"), PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert said.returncode in (0, 1), f"{said.stdout}\n{said.stderr}"
        ran = ET.parse(report).findall(".//testcase")  # noqa: S314 - pytest wrote it
        assert len(ran) == len(names), said.stdout
        return {
            case.get("name", ""): outcome.get("message", "")
            for case in ran
            for outcome in case
            if outcome.tag in ("failure", "error", "skipped")
        }


@pytest.fixture
def copy(installed: BakedProject, tmp_path: Path) -> Copy:
    made = ["__pycache__", "target", "logs"]
    for name in ("src", "tests", "dbt", "docs", "deploy"):
        shutil.copytree(installed.path / name, tmp_path / name, ignore=shutil.ignore_patterns(*made))
    for name in ("pyproject.toml", "Makefile"):
        shutil.copyfile(installed.path / name, tmp_path / name)
    return Copy(tmp_path, installed)


@pytest.fixture
def template_copy(installed: BakedProject, tmp_path: Path) -> Copy:
    """A copy of the template. Its tests run in the environment of a bake, which has all that these need."""
    return Copy(export(tmp_path / "template"), installed, tests="tests")


def test_without_a_fault_the_named_tests_are_green(copy: Copy) -> None:
    assert copy.failures(*sorted({fault.noticed_by for fault in (*FAULTS, *FILE_FAULTS)})) == {}


def test_without_a_fault_the_tests_of_workflows_are_green(template_copy: Copy) -> None:
    assert template_copy.failures(*(fault.noticed_by for fault in WORKFLOW_FAULTS)) == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_turns_its_test_red(copy: Copy, fault: Fault) -> None:
    copy.plant(fault)

    is_noticed(copy, fault)


@pytest.mark.parametrize("fault", FILE_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_in_a_file_turns_its_test_red(copy: Copy, fault: Fault) -> None:
    copy.plant(fault, folder="")

    is_noticed(copy, fault)


@pytest.mark.parametrize("fault", WORKFLOW_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_in_a_workflow_turns_its_test_red(template_copy: Copy, fault: Fault) -> None:
    template_copy.plant(fault, folder="")

    is_noticed(template_copy, fault)


def is_noticed(copy: Copy, fault: Fault) -> None:
    """The named test alone is red, with the message that the fault causes."""
    failures = copy.failures(fault.noticed_by)

    assert set(failures) == {fault.noticed_by.partition("::")[2]}
    (message,) = failures.values()
    assert re.search(fault.says, message, re.DOTALL), message
