"""When a table that is made of others is made again without being asked for."""

from __future__ import annotations

from typing import Any

import dagster as dg

_IS_MISSING = dg.AutomationCondition.missing()
_CAN_BE_MADE = _IS_MISSING & dg.AutomationCondition.any_deps_match(~_IS_MISSING)
# Not `all_deps_blocking_checks_passed()`: dbt's tests of a raw table are blocking checks that only the build runs.
_IS_DOUBTFUL = dg.AutomationCondition.any_checks_match(
    dg.AutomationCondition.check_failed() | dg.AutomationCondition.in_progress(), blocking_only=True
)


def after_inputs() -> dg.AutomationCondition[Any]:
    """Make it once when inputs were updated, after all runs that update them have ended, or where it is missing.

    It is Dagster's `eager()` with three changes. That one never makes a table of monthly inputs, because it waits until
    no month is missing, and the newest months always are. It makes a missing table although all of its inputs are
    missing. And it makes a table although a blocking check of an input has failed.
    """
    eager = dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
    updated = eager.replace("newly_missing", _CAN_BE_MADE.newly_true().with_label("can_be_made"))
    return (updated & ~dg.AutomationCondition.any_deps_match(_IS_DOUBTFUL)).with_label("after_inputs")
