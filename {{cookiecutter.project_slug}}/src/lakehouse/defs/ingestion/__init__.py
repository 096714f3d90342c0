"""From the publisher to the raw tables: the landing zone and bronze."""
