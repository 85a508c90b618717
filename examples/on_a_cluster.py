"""One graph, unchanged, on this machine, and with its CPU-bound nodes on a Dask cluster that this starts.

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
    return await asyncio.sleep(0.01, TEXTS[name])  # as a download would


@delayed(executor="process")
def count(text: str) -> tuple[Counter[str], int]:
    return Counter(text.split()), os.getpid()


@delayed(executor="process")
def summary(counts: list[tuple[Counter[str], int]]):
    total = sum((each for each, _ in counts), Counter())
    mean = sum(len(word) * number for word, number in total.items()) / total.total()
    return f"{total.most_common(2)}, {mean:.2f} letters a word", {worker for _, worker in counts}


async def main() -> None:
    graph = summary([count(fetch("dickens")), count(fetch("melville"))])
    here, _ = await graph
    print(f"here:           {here}")
    async with (
        LocalCluster(n_workers=2, asynchronous=True, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster, asynchronous=True) as client,
        Runtime(executors={"process": DaskExecutor(client)}),
    ):
        (there, pids), workers = await graph, set((await client.run(os.getpid)).values())
        print(f"on the cluster: {there}\nequal: {here == there}\nin its workers: {pids <= workers}")
        try:
            await summary([count(fetch("empty"))])
        except ZeroDivisionError as error:
            print(type(error).__name__, *error.__notes__, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
