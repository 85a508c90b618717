"""Tests of asyncgraph.executors.process."""
