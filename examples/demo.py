"""Survey the standard library's source as one graph, then do the same one after the other.

A server on loopback serves the files, with a delay as a network has. In the graph they are downloaded
concurrently by coroutines, parsed in worker processes and merged as a tree; two fail, on purpose. Pictures of
the graph and of its run are left in a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import operator
import platform
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from demo_parts.heartbeat import Heartbeat, heartbeat
from demo_parts.report import as_json, print_comparison, print_errors, print_files, print_survey
from demo_parts.server import BROKEN, serving
from demo_parts.survey import Survey, merged_in_pairs, survey_of

from asyncgraph import Runtime, compute, delayed, run
from asyncgraph.io import write_text
from asyncgraph.observe import ProgressBar, Report, Trace

MISSING = "planted/missing.py"
CONNECTIONS = 32


class DownloadError(Exception):
    """The server's answer was another than the file."""

    def __init__(self, status: int, url: str) -> None:
        super().__init__(f"HTTP status {status} for {url}")
        self.status = status
        self.url = url


@dataclass
class Result:
    """What either way of doing the job comes to."""

    survey: Survey
    missing: Exception
    broken: Exception
    file: Path | None = None

    def finds_the_same_as(self, other: Result) -> bool:
        """Whether the surveys are equal, and the errors too."""
        pairs = [(self.missing, other.missing), (self.broken, other.broken)]
        return self.survey == other.survey and all(
            type(one) is type(another) and str(one) == str(another) for one, another in pairs
        )


# --- as one graph ---


@delayed  # A coroutine, on the event loop.
async def download(url: str) -> bytes:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        status, _, headers = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        if (code := int(status.split()[1])) != 200:
            raise DownloadError(code, url)
        return await reader.readexactly(int(email.message_from_string(headers)["Content-Length"]))
    finally:
        writer.close()


@delayed(executor="process")  # It keeps a core busy.
def parse(source: bytes, name: str) -> Survey:
    return survey_of(source, name)


@delayed  # A plain function: in a thread.
def merge(one: Survey, other: Survey) -> Survey:
    return one + other


def build(url: str, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """The graph, by its outputs. Nothing has run when this returns."""
    survey = merged_in_pairs([parse(download(f"{url}/{name}"), name) for name in names], merge)
    return {
        "survey": survey,
        "missing": download(f"{url}/{MISSING}"),
        "broken": parse(download(f"{url}/{BROKEN}"), BROKEN),
        "file": write_text(folder / "survey.json", delayed(as_json)(survey)),
    }


async def as_one_graph(url: str, options: argparse.Namespace) -> tuple[Result, Heartbeat, float]:
    report = Report(options.save / "report.html")
    trace = Trace(options.save / "trace.json")
    began = time.perf_counter()
    async with Runtime(concurrency=CONNECTIONS):
        index = await download(f"{url}/")
        graph = build(url, index.decode().split()[: options.modules], options.save)
        async with report, trace, heartbeat() as heart:
            with ProgressBar():
                result = Result(**await compute(graph, return_exceptions=True))
            seconds = time.perf_counter() - began
    for value in (result.survey, result.file):
        if isinstance(value, Exception):  # None but the two planted ones may fail.
            raise value
    picture = options.save / "graph.svg"
    graph["survey"].visualize(filename=picture, color="duration", run=report.recording)
    return result, heart, seconds


# --- one after the other ---


def one_after_the_other(url: str, options: argparse.Namespace) -> Result:
    names = fetch(f"{url}/").decode().split()[: options.modules]
    surveys = [survey_of(fetch(f"{url}/{name}"), name) for name in names]
    return Result(
        survey=merged_in_pairs(surveys, operator.add),
        missing=error_of(lambda: fetch(f"{url}/{MISSING}")),
        broken=error_of(lambda: survey_of(fetch(f"{url}/{BROKEN}"), BROKEN)),
    )


# A proxy that the environment may name would not find our loopback.
without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> bytes:
    try:
        with without_proxy.open(url) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(error.code, url) from None


def error_of(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("what was planted to fail did not")


# --- both ---


def main(options: argparse.Namespace) -> int:
    options.save.mkdir(parents=True, exist_ok=True)
    with serving(options.delay / 1000) as url:
        library = f"Python {platform.python_version()}'s standard library"
        print(f"{library} is served at {url}, {options.delay:g} ms after each request.\n", flush=True)
        result, heart, seconds = run(as_one_graph(url, options))
        print_survey(result.survey)
        print("\nTwo were planted to fail. All else completed, and they arrived as themselves:\n")
        print_errors(result.missing, result.broken)
        print_files(options.save)
        print("\nNow the same one after the other ...\n", flush=True)
        began = time.perf_counter()
        expected = one_after_the_other(url, options)
        seconds_before = time.perf_counter() - began
    is_same = result.finds_the_same_as(expected)
    print_comparison(seconds, heart, seconds_before, is_same=is_same)
    return 0 if is_same else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modules", type=at_least_one, metavar="N", help="only the first N modules")
    parser.add_argument("--delay", type=float, default=20, metavar="MS", help="of each answer (default: 20)")
    parser.add_argument(
        "--save",
        type=Path,
        default=Path("demo-results"),
        metavar="DIR",
        help="where the pictures and the survey go (default: %(default)s)",
    )
    return parser.parse_args()


def at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    try:
        sys.exit(main(parse_arguments()))
    except KeyboardInterrupt:
        print("\nInterrupted; nothing is left running.", file=sys.stderr)
        sys.exit(130)  # What a shell expects of a program that Ctrl-C has ended.
