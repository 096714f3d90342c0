"""Iceberg: the catalog, the tables, writing a data file, one commit, versions and their names."""
