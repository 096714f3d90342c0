"""Maintenance on a schedule."""
