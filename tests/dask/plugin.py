"""A pytest plugin for Dask's own tests: every scheduler that runs in this process is the one to be tested.

Many of Dask's tests ask for the scheduler "sync" by name, or for "threads"; those get it, too. What is
counted is how many graphs went through it.
"""

from __future__ import annotations

import faulthandler
import itertools

IN_PROCESS = ("sync", "synchronous", "single-threaded", "threads", "threading")

_calls = itertools.count()


def pytest_addoption(parser):
    """Take the scheduler's name."""
    parser.addoption("--scheduler", choices=("asyncgraph", "threaded"), default="asyncgraph")


def pytest_configure(config):
    """Put the scheduler in the place of all others of this process."""
    import dask.base
    import dask.threaded

    from asyncgraph.dask import get as ours

    chosen = ours if config.getoption("--scheduler") == "asyncgraph" else dask.threaded.get

    def get(dsk, keys, **options):
        next(_calls)
        return chosen(dsk, keys, **options)

    dask.base.named_schedulers.update(dict.fromkeys(IN_PROCESS, get))
    dask.config.set(scheduler=get)
    faulthandler.enable()


def pytest_terminal_summary(terminalreporter):
    """Say how many graphs it had."""
    terminalreporter.write_line(f"graphs through the scheduler: {next(_calls)}")
