"""Benchmarks: asyncgraph beside what people use today, in one process and one run. `make bench`."""
