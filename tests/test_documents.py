"""What the documents say apart from their examples: links into the repository, and a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_NAMED = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_internal_links_resolve(document):
    """A relative link names a file that exists and, behind a #, a heading in it."""
    broken = [link for link in _internal_links(document) if not _resolves(document, link)]
    assert broken == []


def test_a_broken_link_is_noticed(tmp_path):
    """The check tells links that lead somewhere from those that do not."""
    document = tmp_path / "a.md"
    document.write_text("# One & two\n[x](#one--two) [y](#three) [z](gone.md) [w](https://example.org/)\n")
    links = _internal_links(document)
    assert links == ["#one--two", "#three", "gone.md"]
    assert [_resolves(document, link) for link in links] == [True, False, False]


def test_the_traceback_in_the_readme_is_what_is_printed(tmp_path):
    """The script in README.md, run as a user would, prints the traceback that stands behind it."""
    blocks = re.findall(
        r"^```(python|text)\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (shown,) = [text for kind, text in blocks if kind == "text" and text.startswith("Traceback")]
    (script,) = [text for kind, text in blocks if kind == "python" and "traceback.print_exc()" in text]
    (tmp_path / "report.py").write_text(script)
    finished = subprocess.run(
        [sys.executable, "report.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    # Which expression of a line failed is marked differently by each version of Python.
    printed = re.sub(r"^ *[~^]+\n", "", finished.stderr, flags=re.MULTILINE).replace(f"{tmp_path}/", "")
    printed = re.sub(r'".*(/asyncgraph/.*)", line \d+', r'"...\1", line ...', printed)
    assert printed == shown


def _internal_links(document):
    text = _CODE.sub("", _FENCE.sub("", document.read_text("utf-8")))
    links = [inline or reference for inline, reference in _LINK.findall(text)]
    return [link for link in links if not re.match(r"[a-z]+:", link)]


def _resolves(document, link):
    path, _, anchor = link.partition("#")
    target = (document.parent / path) if path else document
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in _anchors(target)


def _anchors(document):
    """Return the anchors that the usual renderers of Markdown give to a document."""
    text = _FENCE.sub("", document.read_text("utf-8"))
    anchors = set(_NAMED.findall(text))
    for heading in _HEADING.findall(text):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def test_pictures_are_those_of_the_code(tmp_path):
    """What the documents show is what `visualize` draws; `python docs/pictures/make.py` makes them anew."""
    pictures = ROOT / "docs" / "pictures"
    subprocess.run([sys.executable, str(pictures / "make.py"), str(tmp_path)], check=True)
    for picture in pictures.glob("*.svg"):
        assert picture.read_text("utf-8") == (tmp_path / picture.name).read_text("utf-8")
