"""Queues runs as Dagster does, and makes a pool known before the first run of it is in the queue.

Dagster's daemon makes the limit of a new pool while it takes runs from the queue, and knows it at the next look only.
So without this, the first runs of a pool would begin together.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext


class LakehouseRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, with limits from the first run on."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a run into the queue. A limit that somebody has set in the page stays."""
        needed = context.dagster_run.run_op_concurrency
        storage = self._instance.event_log_storage
        known = {pool.name for pool in storage.get_pool_limits()}
        for pool in sorted(set(needed.all_pools or ()) - known if needed else ()):
            storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
