"""Tests of asyncgraph.executors."""
