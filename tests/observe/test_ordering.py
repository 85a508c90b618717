"""Sorting in pieces gives what sorting does."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from asyncgraph.observe import ordering


@given(st.lists(st.integers()), st.integers(1, 10))
def test_the_order_is_that_of_sorted(values, piece):
    """Whatever the size of the pieces."""
    with mock.patch.object(ordering, "_PIECE", piece):
        assert ordering.in_order(values) == sorted(values)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())), st.integers(1, 10))
def test_what_is_equal_stays_in_order(values, piece):
    """As it does for `sorted`."""
    with mock.patch.object(ordering, "_PIECE", piece):
        assert ordering.in_order(values, lambda value: value[0]) == sorted(values, key=lambda value: value[0])
