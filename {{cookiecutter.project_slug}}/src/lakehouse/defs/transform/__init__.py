"""From raw to gold: dbt's models as assets, its tests as asset checks."""
