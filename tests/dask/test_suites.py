"""A small part of Dask's own tests, with asyncgraph as its scheduler; `make test-dask` runs all."""

from __future__ import annotations

import re

from tests.dask.suites import counts, run


def test_dasks_tests_of_delayed_values(tmp_path):
    """They pass, and their graphs went through our scheduler."""
    printed = run(["dask.tests.test_delayed"], "asyncgraph", tmp_path, "-k", "not p2p and not cloudpickle")
    said = counts(printed)
    assert " passed" in said, printed
    assert not re.search(r"\d (failed|error)", said), printed
    assert int(said.rpartition(";")[2].split()[0]) > 50
