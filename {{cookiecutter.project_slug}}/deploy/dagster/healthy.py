"""Whether one of Dagster's processes does its work: `healthy.py code`, `webserver` or `daemon`, in its container.

Dagster's own commands for it import all of Dagster each time, which is seconds of a processor. For the same reason each
function imports what it needs, and no other's.
"""
# ruff: noqa: PLC0415

import http.client
import os
import sys

WAIT_SECONDS = 8
# The daemon writes each half minute that it is there.
DAEMON_SECONDS = 120


def code() -> bool:
    """Whether the code location answers."""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel("127.0.0.1:4000") as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(service="DagsterApi"), timeout=WAIT_SECONDS)
    return bool(answer.status == HealthCheckResponse.SERVING)


def webserver() -> bool:
    """Whether the page answers."""
    connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=WAIT_SECONDS)
    connection.request("GET", "/server_info")
    return connection.getresponse().status == http.client.OK


def daemon() -> bool:
    """Whether the daemon has written lately that it is there."""
    import psycopg2

    names = {"host": "HOST", "port": "PORT", "dbname": "DB", "user": "USER", "password": "PASSWORD"}
    settings = {name: os.environ[f"DAGSTER_POSTGRES_{variable}"] for name, variable in names.items()}
    with psycopg2.connect(connect_timeout=WAIT_SECONDS, **settings) as connection, connection.cursor() as cursor:
        cursor.execute("select extract(epoch from localtimestamp - max(timestamp)) from daemon_heartbeats")
        (seconds,) = cursor.fetchone()
    return seconds is not None and seconds < DAEMON_SECONDS


if __name__ == "__main__":
    sys.exit(not {"code": code, "webserver": webserver, "daemon": daemon}[sys.argv[1]]())
