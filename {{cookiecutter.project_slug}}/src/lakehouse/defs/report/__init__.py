"""The report: the snapshots and the dashboard."""
