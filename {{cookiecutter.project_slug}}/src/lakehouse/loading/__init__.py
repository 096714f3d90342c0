"""Loading one file: conform, accept, write, commit."""
