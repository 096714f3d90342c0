"""What is loaded: the declarations of datasets, and the months that they come in."""
