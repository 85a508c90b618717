"""A small part of Dask's own tests, with asyncgraph as its scheduler; `make test-dask` runs all."""

from __future__ import annotations

from tests.dask.suites import Tally, differing, modules, run


def test_dasks_tests_of_delayed_values(tmp_path):
    """They pass, and their graphs went through our scheduler."""
    tally = run("dask.tests.test_delayed", "asyncgraph", tmp_path, "-k", "not p2p and not cloudpickle")
    assert not tally.trouble
    assert {"passed"} <= {*tally.outcomes.values()} <= {"passed", "skipped"}, tally
    assert tally.graphs > 50


def test_a_run_that_does_not_come_to_its_end_is_told(tmp_path):
    """It is in trouble, and counts as broken, with what pytest said."""
    tally = run("dask.tests.test_delayed", "asyncgraph", tmp_path, "--no-such-option")
    assert "--no-such-option" in tally.trouble
    assert tally.counts()[0] == "broken"


def test_the_modules_of_a_suite():
    """A suite is all that its package has, and a module is itself."""
    assert modules("delayed") == modules("dask.tests.test_delayed") == ["dask.tests.test_delayed"]
    assert "dask.bag.tests.test_bag" in modules("bag")


def test_what_ends_otherwise_is_named():
    """A test that fails with us only, and one that was not come to, are differences."""
    ours = Tally({"a": "passed", "b": "failed"}, 2, 1.0)
    theirs = Tally({"a": "passed", "b": "passed", "c": "skipped"}, 2, 1.0)
    said = [*differing([ours, theirs])]
    assert [each.partition(":")[0] for each in said] == ["b", "c"]
    assert "failed with asyncgraph, passed with threaded" in said[0]
