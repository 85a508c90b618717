"""One graph, unchanged, on this machine and with its CPU-bound nodes on a Dask cluster.

The cluster is one that this starts here, of two worker processes; `Client("tcp://...")` would be any other.
Coroutines stay at home: the texts are fetched on the event loop, whoever counts their words.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from distributed import Client, LocalCluster

from asyncgraph import Runtime, delayed
from asyncgraph.dask import DaskExecutor

TEXTS = {
    "dickens": "it was the best of times it was the worst of times",
    "melville": "call me ishmael some years ago never mind how long",
    "empty": "",
}


@delayed
async def fetch(name: str) -> str:
    await asyncio.sleep(0.01)  # as a download would
    return TEXTS[name]


@delayed(executor="process")
def count(text: str) -> Counter[str]:
    return Counter(text.split())


@delayed(executor="process")
def merge(counts: list[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter())


@delayed(executor="process")
def mean_length(counts: Counter[str]) -> float:
    return sum(len(word) * number for word, number in counts.items()) / counts.total()


@delayed(executor="process")
def where(_: object) -> int:
    return os.getpid()


def graph(names: list[str]):
    """The nodes that are asked for; where they run is no business of theirs."""
    counts = merge([count(fetch(name)) for name in names])
    return delayed({"words": mean_length(counts), "most common": counts.most_common(2)})


async def main() -> None:
    local = await graph(["dickens", "melville"])
    print(f"here:           {local}")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    async with (
        LocalCluster(asynchronous=True, **settings) as cluster,
        Client(cluster, asynchronous=True) as client,
        Runtime(executors={"process": DaskExecutor(client)}),
    ):
        hybrid = await graph(["dickens", "melville"])
        print(f"on the cluster: {hybrid}")
        print("equal" if hybrid == local else "NOT EQUAL")
        workers = {worker["pid"] for worker in (await client.run(_identity)).values()}
        print("a worker of the cluster" if await where(graph(["dickens"])) in workers else "NOT A WORKER")
        try:
            await graph(["empty"])
        except ZeroDivisionError as error:
            print(f"\n{type(error).__name__}: {error}")
            print("\n".join(error.__notes__))


def _identity() -> dict[str, int]:
    return {"pid": os.getpid()}


if __name__ == "__main__":
    asyncio.run(main())
