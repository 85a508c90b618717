"""A Starlette service that awaits a graph for each request: `uvicorn --app-dir examples service:app`.

As a script it makes one request to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncgraph import Runtime, delayed, run


@delayed
async def price_of(item: str) -> int:
    await asyncio.sleep(0.01)  # It would ask a database.
    return {"tea": 4, "cake": 5}[item]


async def bill(request: Request) -> JSONResponse:
    prices = {item: price_of(item) for item in request.path_params["items"].split(",")}
    answer = {"prices": prices, "total": delayed(sum)(list(prices.values()))}
    try:
        return JSONResponse(await request.state.runtime.compute(answer))
    except KeyError as error:
        return JSONResponse({"error": f"we have no {error.args[0]}"}, status_code=404)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Runtime]]:
    async with Runtime() as runtime:
        yield {"runtime": runtime}


app = Starlette(routes=[Route("/bill/{items}", bill)], lifespan=lifespan)


async def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /bill/tea,cake HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        print((await reader.read()).decode())
        writer.close()
        server.should_exit = True
        await serving


if __name__ == "__main__":
    run(main())
