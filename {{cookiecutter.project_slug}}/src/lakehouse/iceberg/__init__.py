"""Iceberg: catalog, tables, loading one month, history, maintenance."""
