"""Trino with workers, as the profile `workers` starts it: work is spread, and a lost worker is one clear error."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.integration.faults import Record, told
from tests.integration.lake import Lake
from tests.integration.stack import started, within

from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import ServiceError

LONG = "select count(*) from tpch.sf10.lineitem where regexp_like(comment, '(a+b+)+c') and orderkey % 7 = 1"
NODES = "select count(*) n from system.runtime.nodes where state = 'active'"


@pytest.mark.slow
def test_a_worker_killed_in_mid_query_is_one_clear_error(tmp_path: Path, record_property: Record) -> None:
    with started(workers=2) as stack:
        lake = Lake(stack, tmp_path)
        lake.empty()
        lake.load("green", "2023-01", 1000)
        watcher = TrinoEngine(lake.settings)
        assert watcher.query(NODES)["n"][0].as_py() == 3
        assert lake.value("select count(*) from raw.green_trips") == 1000

        def nodes_at_work() -> int:
            found = watcher.query("select count(distinct node_id) n from system.runtime.tasks where state = 'RUNNING'")
            return int(found["n"][0].as_py())

        def kill() -> None:
            within(60, lambda: nodes_at_work() == 3, every=0.1)
            stack.container("trino-worker-2").kill()
            killed.append(time.monotonic())

        killed: list[float] = []
        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ServiceError, match="A worker of Trino was lost") as caught:
            lake.engine.query(LONG)
        ended = time.monotonic()
        killer.join()

        outcome = f"refused: {type(caught.value).__name__}"
        told(record_property, "worker killed in mid-query", outcome, ended - killed[0])
        within(60, lambda: watcher.query(NODES)["n"][0].as_py() == 2)
        assert lake.value("select count(*) from raw.green_trips") == 1000
        stack.container("trino-worker-2").start()
        within(120, lambda: watcher.query(NODES)["n"][0].as_py() == 3)
        watcher.close()
        lake.close()
