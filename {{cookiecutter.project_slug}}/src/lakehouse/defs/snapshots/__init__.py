"""What is Iceberg's own: the tables' schemas, and the report on their history."""
