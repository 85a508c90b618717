"""One HTTP client, one database, one temporary directory for all nodes, each open only while it is used."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import aiosqlite
import httpx2

from asyncgraph import compute, delayed, resource, run

TLS = ssl.create_default_context()  # Takes too long to be made on the event loop.


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.removeprefix("/").upper().encode())

    def log_message(self, *about: object) -> None: ...


@contextlib.contextmanager
def serving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@delayed
async def save(database: aiosqlite.Connection, pages: dict[str, str]) -> int:
    await database.execute("create table pages (name, text)")
    await database.executemany("insert into pages values (?, ?)", pages.items())
    rows = await database.execute_fetchall("select count(*) from pages")
    return next(iter(rows))[0]


if __name__ == "__main__":
    with serving() as site:
        client = resource(httpx2.AsyncClient, base_url=site, trust_env=False, verify=TLS)
        directory = resource(tempfile.TemporaryDirectory)
        database = resource(aiosqlite.connect, directory + "/pages.db")
        pages = {name: client.get(f"/{name}").text for name in ("tea", "cake", "scones")}
        saved, texts, place = run(compute(save(database, pages), pages, directory + ""))
    print(f"{saved} rows: {', '.join(texts.values())}")
    print(f"the directory is gone: {not Path(place).exists()}")
