"""Dask, both ways."""
