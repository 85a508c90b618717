"""One graph, unchanged, in three places: here, with its CPU-bound nodes on a Dask cluster, and whole on that.

In the second the texts are fetched on the event loop here, in the third on the cluster's workers.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from distributed import Client, LocalCluster

from asyncgraph import Runtime, delayed
from asyncgraph.dask import DaskExecutor, DaskRuntime

TEXTS = {
    "dickens": "it was the best of times it was the worst of times",
    "melville": "call me ishmael some years ago never mind how long",
}


@delayed
async def fetch(name: str) -> tuple[str, int]:
    return await asyncio.sleep(0.01, TEXTS.get(name, "")), os.getpid()  # as a download would


@delayed(executor="process")
def count(fetched: tuple[str, int]) -> tuple[Counter[str], set[int]]:
    return Counter(fetched[0].split()), {fetched[1], os.getpid()}


@delayed(executor="process")
def summary(counts: list[tuple[Counter[str], set[int]]]) -> tuple[str, set[int]]:
    total = sum((each for each, _ in counts), Counter())
    mean = sum(len(word) * number for word, number in total.items()) / total.total()
    return f"{total.most_common(2)}, {mean:.2f} letters a word", set().union(*(pids for _, pids in counts))


async def main() -> None:
    graph = summary([count(fetch("dickens")), count(fetch("melville"))])
    print(f"here:   {(here := (await graph)[0])}")
    local = LocalCluster(n_workers=2, asynchronous=True, dashboard_address=":0", silence_logs=50)
    async with local, Client(local, asynchronous=True) as client:
        workers = {*(await client.run(os.getpid)).values()}
        hybrid = Runtime(executors={"process": DaskExecutor(client)})
        for name, runtime in ("hybrid", hybrid), ("whole", DaskRuntime(client)):
            async with runtime:
                there, pids = await graph
                print(f"{name + ':':<7} {there}")
                print(f"        equal: {here == there}, all of it on the cluster: {pids <= workers}")
                try:
                    await summary([count(fetch("empty"))])
                except ZeroDivisionError as error:
                    print(type(error).__name__, *error.__notes__, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
