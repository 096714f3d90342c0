"""Dagster's definitions, by system. Every Python file in this folder is found without registration."""
