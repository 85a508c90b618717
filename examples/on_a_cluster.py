"""One graph, unchanged, in three places: here, with its CPU-bound nodes on a Dask cluster, and whole on that.

In the second the texts are fetched on the event loop here, and counted on the cluster, which this starts. In
the third they are fetched on the cluster as well: coroutines run on its workers, and only the summary comes
home.
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
    "empty": "",
}


@delayed
async def fetch(name: str) -> tuple[str, int]:
    return await asyncio.sleep(0.01, TEXTS[name]), os.getpid()  # as a download would


@delayed(executor="process")
def count(fetched: tuple[str, int]) -> tuple[Counter[str], set[int]]:
    text, fetcher = fetched
    return Counter(text.split()), {fetcher, os.getpid()}


@delayed(executor="process")
def summary(counts: list[tuple[Counter[str], set[int]]]) -> tuple[str, set[int]]:
    total = sum((each for each, _ in counts), Counter())
    mean = sum(len(word) * number for word, number in total.items()) / total.total()
    return f"{total.most_common(2)}, {mean:.2f} letters a word", set().union(*(pids for _, pids in counts))


async def main() -> None:
    graph = summary([count(fetch("dickens")), count(fetch("melville"))])
    here, _ = await graph
    print(f"here:   {here}")
    async with (
        LocalCluster(n_workers=2, asynchronous=True, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        workers = set((await client.run(os.getpid)).values())
        ways = {"hybrid": Runtime(executors={"process": DaskExecutor(client)}), "whole": DaskRuntime(client)}
        for name, runtime in ways.items():
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
