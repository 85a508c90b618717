"""Estimates of how large values are."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from asyncgraph._runtime.sizes import size_of


def test_plain_values_are_measured():
    """What the interpreter says of them."""
    assert size_of(b"x" * 1000) == sys.getsizeof(b"x" * 1000)


@pytest.mark.parametrize("container", [list, tuple])
def test_some_items_stand_for_all(container):
    """Of a long list of equal items the estimate is exact."""
    items = container(bytes([number % 200]) * 1000 for number in range(500))
    exact = sys.getsizeof(items) + sum(map(sys.getsizeof, items))
    assert size_of(items) == exact


def test_mappings_and_sets_count_what_is_in_them():
    """Values of dictionaries and items of sets."""
    assert size_of({"key": b"x" * 5000}) > 5000
    assert size_of({b"x" * 5000}) > 5000


def test_arrays_and_frames_tell_by_themselves():
    """Memory outside of the interpreter's objects counts."""
    assert size_of(np.zeros(100_000)) >= 800_000
    assert size_of(np.zeros(100_000)[::2]) >= 400_000
    assert size_of(pd.DataFrame({"x": np.zeros(1000)})) >= 8000
    assert size_of([np.zeros(1000)] * 10) >= 80_000


def test_deep_containers_are_not_followed_for_ever():
    """A list that contains itself, and one of a thousand levels, take no longer than others."""
    deep: list = []
    deep.append(deep)
    assert size_of(deep) > 0
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    assert size_of(nested) > 0


def test_odd_classes_count_as_nothing():
    """One that fails when it is asked has no size; nor is a run harmed."""

    class Odd:
        def __sizeof__(self):
            raise RuntimeError

    class Other:
        nbytes = "many"

    assert size_of(Odd()) == 0
    assert size_of(Other()) == sys.getsizeof(Other())
