"""Start a download in the background, go on working, and collect the result, or the original exception."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

from asyncgraph import delayed, run, start


class SlowServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.2)  # As a network does.
        self.send_response(200 if self.path == "/report" else 404)
        self.end_headers()
        self.wfile.write(b"12 lines of figures")


@contextlib.contextmanager
def serving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), SlowServer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@delayed
def download(url: str) -> str:
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with without_proxy.open(url) as response:
        return response.read().decode()


async def main(site: str) -> None:
    report = start(download(f"{site}/report"))
    typo = start(download(f"{site}/rapport"))
    rounds = 0
    while not report.done():
        rounds += 1
        await asyncio.sleep(0.01)
    print(f"{await report!r}, after {rounds} rounds of other work")
    try:
        await typo
    except urllib.error.HTTPError as error:
        print(f"{error!r}, the original", *error.__notes__, sep="\n")
        error.close()


if __name__ == "__main__":
    with serving() as site:
        run(main(site))
