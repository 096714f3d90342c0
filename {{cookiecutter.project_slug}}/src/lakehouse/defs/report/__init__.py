"""The snapshot report."""
