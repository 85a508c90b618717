"""A Dask cluster for tests, in a process of its own: what its workers do is no business of the leak check.

As a program, this is that process: it prints the address of the scheduler, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

WORKERS = 2


@contextlib.contextmanager
def cluster(workers: int = WORKERS) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a cluster of so many worker processes; gives its address, and its process."""
    environment = {
        **os.environ,
        # A call is begun once more after its worker has died, and not three times, which takes long.
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
        # A local cluster gives a worker up for good that is not back 15 seconds after its death or a restart,
        # which on a busy machine none may be: what comes later would wait for ever.
        "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1 hour",
    }
    command = [sys.executable, "-m", __name__, str(workers)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def main() -> None:
    """Be the cluster."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=":0", resources={"GPU": 1}
    ) as local:
        print(local.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
