"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from tests.benchmarks import (
    calls,
    chaos,
    clusters,
    coroutines,
    dask_graphs,
    imports,
    loop_stall,
    makespan,
    memory,
    metg,
    observing,
    peaks,
    pool,
    pool_data,
    pool_mix,
    progress,
    scale,
    suspended,
)

BENCHMARKS = [
    *calls.BENCHMARKS,
    *coroutines.BENCHMARKS,
    *loop_stall.BENCHMARKS,
    *memory.BENCHMARKS,
    *scale.BENCHMARKS,
    *suspended.BENCHMARKS,
    *imports.BENCHMARKS,
    *peaks.BENCHMARKS,
    *makespan.BENCHMARKS,
    *metg.BENCHMARKS,
    *pool.BENCHMARKS,
    *pool_mix.BENCHMARKS,
    *pool_data.BENCHMARKS,
    *observing.BENCHMARKS,
    *progress.BENCHMARKS,
    *chaos.BENCHMARKS,
    *dask_graphs.BENCHMARKS,
    *clusters.BENCHMARKS,
]
