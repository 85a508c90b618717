"""The transcripts of commands in the documents: what stands behind `$ asyncgraph` is run.

A document's files are its Python blocks that are introduced with their names in backquotes, as in "Say this
is `shop.py`:". A transcript is a block of the language `console`: commands, each with what it prints.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from asyncgraph._graph import node as nodes
from asyncgraph.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]

_FILE = re.compile(r"`(\w+\.py)`:\n+(?:<!---.*?-->\n)?```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ asyncgraph (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# Which expression of a line failed is marked differently by each version of Python.
_MARKS = re.compile(r"^ *[~^]+\n", re.MULTILINE)


DOCUMENT = """\
This is `one.py`:

<!--- skip: next -->
```python
from asyncgraph import delayed
x = delayed(1)
```

```console
$ asyncgraph run one.py:x
1
$ asyncgraph run one.py:x --quiet
$ asyncgraph run one.py:y
2
```
"""


def transcripts(text):
    """The commands of a document, with what they print."""
    return [each for block in _BLOCK.findall(text) for each in _COMMAND.findall(block)]


def printed(text):
    """What is printed, without what differs from version to version."""
    return _MARKS.sub("", text)


def run_all(text, folder, capsys, monkeypatch):
    """Run the commands of a document; each with what it should print, and what it does."""
    for name, source in _FILE.findall(text):
        (folder / name).write_text(source)
    pairs = []
    for words, expected in transcripts(text):
        monkeypatch.setattr(nodes, "_counters", {})
        main(shlex.split(words))
        captured = capsys.readouterr()
        shown = (captured.out + captured.err).replace(f"{folder}/", "")
        pairs.append((f"{words}\n{printed(expected)}", f"{words}\n{printed(shown)}"))
    return pairs


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_print_what_the_document_says(document, folder, capsys, monkeypatch):
    """Every command is run in a folder with the document's files, and prints what stands below it."""
    for expected, shown in run_all(document.read_text("utf-8"), folder, capsys, monkeypatch):
        assert shown == expected


def test_a_transcript_that_is_wrong_is_noticed(folder, capsys, monkeypatch):
    """The check runs what it finds, and tells right output from wrong."""
    right, quiet, wrong = run_all(DOCUMENT, folder, capsys, monkeypatch)
    assert right == ("run one.py:x\n1\n",) * 2
    assert quiet == ("run one.py:x --quiet\n",) * 2
    assert wrong[0] != wrong[1]
