"""What the commands of `asyncgraph` do."""
