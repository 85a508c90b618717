"""The documents are tests too: README.md, docs/ and the docstrings of the package are executed."""

from __future__ import annotations

from pathlib import Path

from tests.documents import docstrings, markdown

ROOT = Path(__file__).parent

pytest_collect_file = (markdown(ROOT, "*.md") + docstrings(ROOT / "asyncgraph", "*.py")).pytest()
