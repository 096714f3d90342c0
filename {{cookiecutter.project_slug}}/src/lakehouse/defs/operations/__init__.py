"""Running it: jobs, the schedule, and runs from the command line."""
