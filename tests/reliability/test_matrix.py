"""The table of `docs/reliability.md` is that of these tests."""

from __future__ import annotations

import ast
import re

from tests.reliability.harness import ROOT

_ROW = re.compile(r"^\| (C?\d+) \|.*\| (.*?) ?\|$", re.MULTILINE)


def _named() -> dict[str, list[str]]:
    """The tests that the document names, by row."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = _ROW.findall(text)
    assert len(rows) == len(dict(rows)), "a row is there twice"
    return {number: re.findall(r"`([^`]+)`", cell) for number, cell in rows}


def _written() -> set[str]:
    """The tests for rows that there are."""
    tests = set()
    for path in (ROOT / "tests" / "reliability").glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                tests.add(f"{path.relative_to(ROOT)}::{node.name}")
    return {test for test in tests if re.search(r"::test_(row_|c)\d\d_", test)}


def test_every_fault_is_in_the_table():
    """There is a row for each fault and each rule, in the document that promises them."""
    assert set(_named()) == {*map(str, range(1, 59)), *(f"C{number}" for number in range(1, 14))}


def test_the_table_names_these_tests():
    """Each test for a row is named in that row, and each that is named there is written."""
    named = _named()
    assert {test for tests in named.values() for test in tests} == _written()
    for number, tests in named.items():
        start = f"::test_c{number[1:]:0>2}_" if number[0] == "C" else f"::test_row_{number:0>2}_"
        assert all(start in test for test in tests), number
