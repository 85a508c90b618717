"""The benchmarks do what they say, at a size that takes no time; how fast, no test asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncgraph import delayed
from tests.benchmarks import (
    chaos,
    cold_start,
    imports,
    loop_stall,
    makespan,
    memory,
    metg,
    observing,
    pool,
    pool_data,
    pool_mix,
    progress,
    scale,
    suspended,
)
from tests.benchmarks.called import busy, rest
from tests.benchmarks.kernels import calibrated, spin
from tests.benchmarks.metg_contenders import CONTENDERS as RUNNERS
from tests.benchmarks.pool_contenders import warm_ours
from tests.benchmarks.suite import BENCHMARKS
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS
from tests.benchmarks.workflows import WORKFLOWS, bound, critical_path_first, levels, scaled

ROOT = Path(__file__).parent.parent.parent

# Dask is not there where only the tests run, and leaves threads behind; both it and the standard library's
# pool of spawned processes are seen to by `test_the_command_line`, in a process that ends.
CONTENDERS = [
    pytest.param(contender, id=f"{benchmark.name}-{name}")
    for benchmark in BENCHMARKS
    for name, contender in (benchmark.contenders or {}).items()
    if "dask" not in name
]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_a_contender_does_its_work(contender):
    """It checks its own result, and returns the seconds that it took."""
    assert 0 < contender(200) < 60


@pytest.mark.parametrize(
    "rows",
    [loop_stall.rows, observing.rows, progress.rows, scale.growth, scale.shapes],
    ids=lambda each: each.__name__,
)
def test_what_is_measured_of_us_alone_gives_rows(rows):
    """Each has a label of its own and as many figures as rounds."""
    found = list(rows(100, 2))
    assert len({row.label for row in found}) == len(found) > 0
    assert all(len(row.figures) == 2 and min(row.figures) >= 0 for row in found)


def test_memory_of_a_node_is_counted():
    """A partial of two arguments has a size that is known within limits; a node has one of that order."""
    ours, partial, *_ = memory.rows(500, 1)
    assert 100 < partial.median < 400
    assert 100 < ours.median < 1_000


@pytest.mark.parametrize("name", suspended.WORKS)
def test_suspended_coroutines_are_suspended_all_at_once(name):
    """They would wait for ever if fewer of them could begin."""
    seconds, grown = suspended.measure_here(name, 1_000)
    assert 0 < seconds < 60
    assert grown >= 0


def test_import_names_what_should_not_be_there():
    """Two programs, their difference, and the modules."""
    rows = list(imports.rows(0, 1))
    assert len(rows) == 4
    assert rows[-1].figures == [0]


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("tasks", [20, 300])
def test_a_workflow_is_one_and_its_bound_holds(name, tasks):
    """Tasks come behind what they need, and no schedule beats the bound that the durations are scaled to."""
    workflow = scaled(WORKFLOWS[name](tasks), 4, 2.0)
    assert tasks / 2 <= len(workflow) <= max(30, tasks * 1.1)
    assert all(each < number for number, task in enumerate(workflow) for each in task.needs)
    assert bound(workflow, 4) == pytest.approx(2.0)
    assert 2.0 <= critical_path_first(workflow, 4) * (1 + 1e-9) <= 4.0
    assert critical_path_first(workflow, len(workflow)) == pytest.approx(max(levels(workflow)))


def test_makespan_of_coroutines():
    """Neither ours nor the hand-written program is done before it can be."""
    workflow = scaled(WORKFLOWS["cholesky"](20), 16, 0.05)
    with makespan.with_coroutines(workflow) as measures:
        assert all(0.95 * 0.05 <= measure() < 10 for measure in measures.values())


def test_makespan_of_processes():
    """Two workers sleep for the time that is asked for."""
    workflow = scaled(WORKFLOWS["fork-join"](12), 2, 0.05)
    with makespan.ours(workflow, makespan.rest, "process", processes=2) as measure:
        assert 0.95 * 0.05 <= measure() < 10


@pytest.mark.parametrize("pattern", metg.PATTERNS)
def test_patterns_need_the_step_before(pattern):
    """Tasks of the first step need nothing, others only tasks of the step before."""
    graph = metg.graph_of(pattern, 64)
    assert len(graph) == 64
    assert all(
        number // metg.WIDTH - each // metg.WIDTH == 1 for number in range(64) for each in graph[number]
    )


@pytest.mark.parametrize(
    ("executor", "name"),
    [("inline", OURS), ("threads", OURS), ("threads", "ThreadPoolExecutor"), ("processes", OURS)],
)
def test_a_runner_of_metg_runs_a_graph(executor, name):
    """It returns the seconds."""
    with RUNNERS[executor][name](2) as run:
        assert 0 < run(metg.graph_of("stencil", 32), spin, 10) < 60


@pytest.mark.parametrize("overhead", [5e-6, 200e-6])
def test_metg_is_the_overhead_of_a_runner_whose_overhead_is_constant(overhead):
    """Then half of the time goes into tasks where they take as long as the overhead."""
    kernel = calibrated(spin)

    def run(graph, call, size):
        return len(graph) * (kernel.seconds(size) + overhead)

    search = metg.Search(run, "fft", kernel, 1, 128)
    assert search.microseconds() == pytest.approx(overhead * 1e6, rel=0.15)


def test_metg_says_when_no_duration_is_enough():
    """A runner that uses less than half of the cores has none."""
    kernel = calibrated(spin)
    search = metg.Search(lambda graph, call, size: len(graph) * kernel.seconds(size), "none", kernel, 3, 16)
    assert search.microseconds() == float("inf")


def test_the_pool_is_given_trivial_calls():
    """At once and one at a time; the results are checked, and what is returned is the time that it took."""
    with warm_ours() as opened:
        assert 0 < pool.call_ours(opened, is_built=True)(1) < 60
        assert 0 < pool.call_ours(opened, is_built=False)(20) < 60
        assert 0 < pool.trip_ours(opened)(5) < 60e6


def test_a_cold_pool_has_a_first_result():
    """The clock stops there."""
    assert 0 < cold_start.ours() < 60


@pytest.mark.parametrize("function", [busy, rest])
def test_workers_are_busy_for_a_part_of_the_time(function):
    """No call is shorter than it was told to be, so that it cannot be more than all of it."""
    with warm_ours() as opened:
        assert 0 < pool.busyness(pool.run_ours(opened), function, 20) <= 100.1


def test_the_mix_has_an_order_that_can_be_kept():
    """Who gives each call to the first free worker is done as soon as can be; the order stays the same."""
    seconds = pool_mix.workload(600)
    assert len(seconds) == 602
    assert seconds == pool_mix.workload(600)
    assert pool_mix.in_order(seconds, 2) == pytest.approx(sum(seconds) / 2)


@pytest.mark.parametrize("is_one_function", [True, False])
def test_the_mix_is_measured(is_one_function):
    """It cannot be done before the bound."""
    with warm_ours() as opened:
        found = pool_mix.ours(opened, is_one_function=is_one_function)(pool_mix.workload(20))
    assert 0 < found.efficiency <= 100
    assert found.held_up >= 0


@pytest.mark.parametrize(
    ("spells", "seconds"),
    [
        pytest.param([(1, 0, 10), (1, 10, 11), (2, 0, 4)], 6, id="the other was done early"),
        pytest.param([(1, 2, 10), (1, 10, 11), (2, 0, 1), (2, 7, 11)], 5, id="the other began late again"),
        pytest.param([(1, 0, 10), (1, 10, 11)], 10, id="the other never had a call"),
        pytest.param([(1, 0, 1), (1, 1, 11), (2, 0, 4)], 0, id="nothing followed the long one"),
        pytest.param([(1, 0, 10), (1, 10, 11), (2, 0, 5), (2, 5, 10)], 0, id="the other was never idle"),
        pytest.param([(1, 0, 3), (1, 3, 6), (2, 0, 1)], 0, id="none was long"),
    ],
)
def test_what_is_held_up(spells, seconds):
    """Calls behind a long one, for as long as the other worker had nothing to do meanwhile."""
    assert pool_mix.held_up(spells, 5) == seconds


@pytest.mark.parametrize("readers", [1, 2])
def test_arrays_are_handed_on(readers):
    """The results are checked; time passes, and memory does not shrink."""
    pytest.importorskip("numpy")
    with warm_ours() as opened:
        for work in (pool_data.arrays_here(readers), pool_data.arrays_ours(opened, readers)):
            seconds, grown = work(80_000)
            assert 0 < seconds < 60
            assert grown >= 0


def test_the_stall_is_measured_with_payloads_of_each_kind():
    """Ten of them, however few other calls there are."""
    pytest.importorskip("numpy")
    kinds = list(pool_data._KINDS)
    assert len(pool_data.calls_of(kinds, 3, 800)) == 13
    assert len(pool_data.calls_of([], 3, 800)) == 3
    with warm_ours() as opened:
        assert 0 < pool_data.stall_ours(opened, kinds, 3, 800) < 60e3


async def test_a_worker_is_found_as_one():
    """It descends from this process; those that are to be spared are not found."""
    before = frozenset(chaos.workers())
    pid = await delayed(os.getpid, executor="process")()
    assert pid in chaos.workers(before)
    assert pid not in chaos.workers(before | {pid})


async def test_chaos_without_kills_gives_what_is_found_serially():
    """Nobody is killed, and nobody is left."""
    found = await chaos.run_graph(1, 40, is_killing=False)
    assert (found.killed, found.left, found.fault) == (0, 0, "")


async def test_chaos_kills_workers():
    """The graph takes longer than the time between two kills; without retries it may well fail."""
    found = await chaos.run_graph(1, 200)
    assert found.killed > 0
    assert found.left == 0
    assert found.fault in {"", "WorkerCrashedError", "WorkerStartError"}


def test_targets():
    """They are for the ratio where there is one, and otherwise for the median."""
    assert Row("a", [1, 2, 9], "ms", at_most=2).verdict() == "<= 2 ms ok"
    assert Row("a", [1, 2, 9], "ms", 3, at_most=2).verdict() == "<= 2 x missed"
    assert Row("a", [1, 2, 9], "ms", 3, at_least=3).verdict() == ">= 3 x ok"
    assert Row("a", [1, 2, 9], "ms", 3).verdict() == ""
    assert Row("a", remark="not measured", at_most=1).verdict() == ""


@pytest.mark.parametrize(
    ("asked", "wanted", "items"),
    [
        (
            ["build", "inline", "threads", "memory", "import"],
            ["build", "inline", "threads", "memory", "import"],
            50,
        ),
        (
            ["pool", "chaos"],
            [
                "pool-calls",
                "pool-trip",
                "pool-start",
                "pool-busy",
                "pool-mix",
                "pool-data",
                "pool-stall",
                "chaos",
            ],
            4,
        ),
        (["cluster"], ["cluster"], 4),
    ],
    ids=["some", "those of a group", "on a cluster"],
)
def test_the_command_line(asked, wanted, items):
    """It prints a table with every row of what was asked for, dask and spawned processes included."""
    options = ["--n", str(items), "--rounds", "1", "--markdown"]
    command = [sys.executable, "-m", "tests.benchmarks", *asked, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split("**")[1] for line in done.stdout.splitlines() if line.startswith("| **")] == wanted
    assert all(line.count("|") == 8 for line in done.stdout.splitlines() if line.startswith("|"))
