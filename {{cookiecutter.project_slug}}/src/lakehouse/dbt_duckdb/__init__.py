"""dbt on DuckDB: the plugin, and the commit of a model."""
