"""The benchmarks do what they say, at a size that takes no time; how fast, no test asks."""

from __future__ import annotations

import pytest

from tests.benchmarks.measures import MEASURES
from tests.benchmarks.workloads import WORKLOADS

CONTENDERS = [
    pytest.param(contender, id=f"{workload.name}-{name}")
    for workload in WORKLOADS
    for name, contender in workload.contenders.items()
    if "dask" not in name  # which is not there where only the tests run, and leaves its threads behind
]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_a_contender_does_its_work(contender):
    """It checks its own result, and returns the seconds that it took."""
    assert 0 < contender(200) < 60


@pytest.mark.parametrize("measure", MEASURES, ids=lambda each: each.name)
def test_a_measure_gives_figures(measure):
    """At least one, each with a label of its own."""
    figures = list(measure.figures(1 if measure.name == "import" else 200))
    assert len({figure.label for figure in figures}) == len(figures) > 0
    assert all(figure.value >= 0 for figure in figures)


def test_targets_name_contenders():
    """A target that no row shows would be forgotten; dask may be missing."""
    for workload in WORKLOADS:
        assert {name for name in workload.targets if "dask" not in name} <= set(workload.contenders)
