"""What is loaded: the declarations of datasets, and the months, days or whole files that they come in."""
