"""What `lakehouse new-dataset` does: look at sample files, guess a dataset, and write its files."""
