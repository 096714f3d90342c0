"""Runs in the environment of others.lock: Spark answers queries through the REST catalog and the object store."""

from __future__ import annotations

import json
import os
import sys

from pyspark.sql import SparkSession  # type: ignore[import-not-found]


def main() -> None:
    """A request on stdin: jars, REST and S3 addresses, queries. Prints a list of first rows, as text."""
    request = json.load(sys.stdin)
    settings = {
        # not `spark.jars`, which reads braces and stars in a path as a pattern
        "spark.driver.extraClassPath": os.pathsep.join(request["jars"]),
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "rest",
        "spark.sql.catalog.lake.uri": request["rest_url"],
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.s3.endpoint": request["s3_url"],
        "spark.sql.catalog.lake.s3.path-style-access": "true",
        "spark.sql.catalog.lake.s3.access-key-id": os.environ["S3_ACCESS_KEY"],
        "spark.sql.catalog.lake.s3.secret-access-key": os.environ["S3_SECRET_KEY"],
        "spark.sql.catalog.lake.client.region": request["s3_region"],
    }
    builder = SparkSession.builder.master("local[1]").appName("reader")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    rows = [spark.sql(query).first() for query in request["queries"]]
    spark.stop()
    print(json.dumps([[str(value) for value in row or ()] for row in rows]))


main()
