"""Landing assets."""
