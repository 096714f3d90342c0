"""What a table was and is: snapshots, differences, the tree, maintenance, publishing."""
