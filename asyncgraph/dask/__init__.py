"""Dask, both ways. Importing this imports nothing of Dask."""

from __future__ import annotations

from asyncgraph.dask.executor import DaskExecutor

__all__ = ["DaskExecutor"]
