"""What the TLC publishes: datasets and their columns by era, conforming, the publisher's site."""
