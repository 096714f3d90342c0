"""Mutants: small changes of src/lakehouse, one at a time. A test should notice each: `make mutants`."""
