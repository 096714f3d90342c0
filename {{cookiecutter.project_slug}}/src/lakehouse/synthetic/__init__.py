"""Generated months, for the demo and for tests."""
