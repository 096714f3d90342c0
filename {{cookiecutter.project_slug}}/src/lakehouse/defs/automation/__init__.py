"""What starts by itself: schedules, sensors and conditions, the jobs that they start, and alarms."""
