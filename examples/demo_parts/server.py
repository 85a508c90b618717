"""An HTTP server on loopback that serves the standard library's own source files, each after a delay.

It is a process of its own, so that serving does not disturb the event loop whose stalls the demo measures.
Its index, `/`, lists the modules; beside those it serves one that does not parse.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BROKEN = "planted/broken.py"
BROKEN_SOURCE = (
    b'"""Planted by the demo: this module does not parse."""\n\n\ndef unfinished(:\n    return 1\n'
)

# Tests are no modules of the library, and some of their data is broken on purpose.
TESTS = {"test", "tests", "idle_test"}


@contextlib.contextmanager
def serving(delay: float) -> Iterator[str]:
    """Run the server for the length of a `with` block, which gets its URL; `delay` is in seconds."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Away from the terminal's Ctrl-C: it ends when its standard input does, however that comes about.
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the demo's HTTP server did not start; what it said is above")
        yield url
    finally:
        process.communicate()


def library_modules() -> dict[str, Path]:
    """The standard library's modules, by their paths relative to it.

    What cannot be imported by its path, as in `site-packages` or `config-3.11`, is none of them.
    """
    library = Path(sysconfig.get_path("stdlib"))
    modules = {}
    for folder, subfolders, files in os.walk(library):
        subfolders[:] = [name for name in subfolders if name.isidentifier() and name not in TESTS]
        for path in (Path(folder, file) for file in files):
            if path.suffix == ".py" and path.stem.isidentifier() and os.access(path, os.R_OK):
                modules[path.relative_to(library).as_posix()] = path
    return dict(sorted(modules.items()))


class Server(ThreadingHTTPServer):
    """Serves `modules`, and waits `delay` seconds before each answer."""

    # Connections that the kernel keeps until they are accepted: more than the demo opens at once.
    request_queue_size = 128

    def __init__(self, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.delay = delay
        self.modules = library_modules()

    def content(self, path: str) -> bytes | None:
        """What is at this path; None if nothing is."""
        name = path.removeprefix("/")
        if not name:
            return "\n".join(self.modules).encode()
        if name == BROKEN:
            return BROKEN_SOURCE
        return self.modules[name].read_bytes() if name in self.modules else None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, as one does that is cancelled, is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        time.sleep(self.server.delay)
        content = self.server.content(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Not a word: the demo's output is for the demo."""


def main(delay: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Server(delay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(float(sys.argv[1]))
