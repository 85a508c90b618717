"""A service that answers from a Dask dataframe larger than its memory, on its own loop, without a cluster.

The first half is the service. The second half, run as a script on Linux, writes the data, limits the memory
of this process, and plays the clients: several ask the same at once, one goes away, and all the time one
asks for /health.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import dask.dataframe as dd
import httpx2
import numpy as np
import pandas as pd
import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asyncgraph import Run, Runtime, delayed
from asyncgraph.dask import from_dask
from asyncgraph.observe import Event, Observer, RunFinished

# As many pieces of the data are in memory at once, whatever the number of requests.
THREADS = 2

# In Python 3.11, two threads that make expressions of Dask's at once can wait for each other for ever.
planning = threading.Lock()


def mean_price(sales: dd.DataFrame, by: str) -> dd.Series:
    if by not in ("shop", "item"):
        raise HTTPException(404, "the mean price is known by shop and by item")
    return sales.groupby(by).price.mean(split_out=1)


def top_items(sales: dd.DataFrame, count: int) -> dd.Series:
    turnover = sales.assign(turnover=sales.price * sales.quantity).groupby("item").turnover
    return turnover.sum(split_out=1).nlargest(count)


def planned(collection: Callable[[], Any]) -> Any:
    with planning:
        return from_dask(collection())


class Desk:
    """Computes each question once for all who ask it at the same time, and no longer than somebody waits."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.runs: dict[str, Run[pd.Series]] = {}
        self.waiting: Counter[str] = Counter()

    async def answer(self, question: str, collection: Callable[[], Any]) -> pd.Series:
        if question not in self.runs:
            # A node that returns a node: Dask plans in a thread, and what it has planned is computed.
            self.runs[question] = self.runtime.start(delayed(planned, name=question)(collection))
        run = self.runs[question]
        self.waiting[question] += 1
        try:
            return await asyncio.shield(run)
        finally:
            self.waiting[question] -= 1
            if not self.waiting[question]:
                del self.runs[question]
                run.cancel()  # nothing happens if it is over


@contextlib.asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is awaited in the block when the client has gone."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    with anyio.CancelScope() as scope:
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


class RunLog(Observer):
    kinds = frozenset({RunFinished})

    def __call__(self, event: Event) -> None:
        done = event.run.statistics()
        print(
            f"  {event.run.name} {event.state}: {done.finished} of {done.nodes} nodes, {event.seconds:.1f} s"
        )


def service(sales: dd.DataFrame) -> Starlette:
    def endpoint(question: Callable[[dd.DataFrame, Any], dd.Series]) -> Callable[..., Any]:
        async def respond(request: Request) -> Response:
            (value,) = request.path_params.values()
            async with while_connected(request):
                answer = request.state.desk.answer(request.url.path, lambda: question(sales, value))
                return JSONResponse((await answer).to_dict())
            return Response(status_code=499)  # which nobody reads

        return respond

    async def health(request: Request) -> Response:
        runs = request.state.desk.runs
        return JSONResponse({question: run.statistics().finished for question, run in runs.items()})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Desk]]:
        async with Runtime(threads=THREADS, observers=[RunLog()]) as runtime:
            yield {"desk": Desk(runtime)}

    routes = [
        Route("/mean-price/{by}", endpoint(mean_price)),
        Route("/top-items/{count:int}", endpoint(top_items)),
        Route("/health", health),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


# -- the demonstration


def write_sales(folder: Path, megabytes: int) -> None:
    random, rows = np.random.default_rng(0), 100_000  # of four columns of 8 bytes: 3.2 MB
    for number in range(megabytes * 10 // 32):
        columns = {"shop": random.integers(20, size=rows), "item": random.integers(1_000, size=rows)}
        numbers = {"quantity": random.integers(1, 9, size=rows), "price": random.random(rows)}
        part = pd.DataFrame({**columns, **numbers})
        part.to_parquet(folder / f"{number:04}.parquet", use_dictionary=False, compression=None)


def memory(what: str) -> int:
    """The megabytes that this process has of a kind, as the kernel counts."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1000 for line in lines if line.startswith(f"{what}:"))


def limit_memory(megabytes: int) -> None:
    """Let this process take so much more than it has by now, when all is imported; more is a MemoryError."""
    pa.set_memory_pool(pa.system_memory_pool())  # its own has taken a gigabyte in advance
    pa.set_cpu_count(THREADS)  # stacks of threads count, used or not
    pa.set_io_thread_count(THREADS)
    threading.stack_size(1 << 19)
    most = (memory("VmData") + megabytes) * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = "http://127.0.0.1:{1}".format(*listener.getsockname())
        async with httpx2.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:
            yield client
        server.should_exit = True
        await serving


async def slowest(client: httpx2.AsyncClient, path: str, until: asyncio.Future[Any]) -> tuple[float, int]:
    times = []
    while not until.done():
        began = time.perf_counter()
        await client.get(path)
        times.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    return max(times), len(times)


async def main(folder: Path) -> None:
    sales = await asyncio.to_thread(dd.read_parquet, folder)
    questions = {"/mean-price/shop": mean_price(sales, "shop"), "/top-items/5": top_items(sales, 5)}
    async with served(service(sales)) as client:
        print("six requests, three for each of two questions:")
        answering = asyncio.gather(*[client.get(path) for path in [*questions] * 3])
        worst, count = await slowest(client, "/health", answering)
        answers = [each.json() for each in await answering]
        print(f"/health was answered {count} times meanwhile, in {worst * 1000:.0f} ms at most")
        print("a client that goes away when its question is being computed:")
        leaving = asyncio.create_task(client.get("/mean-price/item"))
        finished = 0
        while finished < 5 and not leaving.done():
            finished = (await client.get("/health")).json().get("/mean-price/item", 0)
        leaving.cancel()
    expected = [each.compute(num_workers=THREADS) for each in questions.values()]
    assert answers == [{str(key): value for key, value in each.items()} for each in expected] * 3
    print("all answers are those of plain Dask")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=int, default=1000, help="the size of the data in MB")
    parser.add_argument("--limit", type=int, default=200, help="how much memory the service may take, in MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        libraries = memory("VmRSS")
        limit_memory(options.limit)
        write_sales(Path(folder), options.data)
        asyncio.run(main(Path(folder)))
    peak = memory("VmHWM") - libraries
    print(f"{options.data} MB of data; {peak} MB in memory at most, beside {libraries} MB of libraries")
    assert peak <= options.limit < options.data
