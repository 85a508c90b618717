"""Dask, both ways: its collections run here, nodes are collections of its, and a cluster is an executor.

`from_dask(collection)` makes nodes of a Dask array, dataframe, bag or delayed value, and `get` is a scheduler
for `dask.config.set(scheduler=get)`. The other way round, every node is a Dask collection, so that
`dask.compute(node)`, `dask.delayed(f)(node)` and `client.compute(node)` work; and a Dask collection among the
arguments of a node is a dependency of it. `Runtime(executors={"process": DaskExecutor(client)})` sends the
calls of that executor to a cluster.

Importing this imports nothing of Dask. What is called here does, and says what to install where there is
none.
"""

from __future__ import annotations

from asyncgraph.dask.collections import from_dask
from asyncgraph.dask.executor import DaskExecutor
from asyncgraph.dask.runtime import DaskRuntime
from asyncgraph.dask.scheduler import get

__all__ = ["DaskExecutor", "DaskRuntime", "from_dask", "get"]
