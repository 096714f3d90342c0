"""What the publisher has."""
