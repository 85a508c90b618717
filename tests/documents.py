"""Runs the examples in Markdown documents and in docstrings, as a reader would type them.

A document is one session: its blocks share a namespace and, where they `await` at the top level, an event
loop, as in `python -m asyncio`. Blocks of plain code are run; blocks of `>>>` lines are run and their output
is compared. Every Python block is run, whatever else its info string says; only `<!--- skip: next -->` before
it exempts one.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from asyncgraph._graph import node
from tests.leaks import Snapshot, listing

_LANGUAGES = frozenset({"python", "python3", "py", "pycon"})
_INFO = re.compile(r"[ \t]*(?P<language>[^\s`]+)[^\n`]*$\n", re.MULTILINE)
_SESSION = "__session__"
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class _Transcript:
    """Examples of `>>>` lines; each is at the document's line `offset` plus its own plus the region's."""

    examples: list[doctest.Example]
    offset: int


class _Session:
    """The event loop of one document, and what there was before it."""

    def __init__(self) -> None:
        self._before = Snapshot.take()
        self._runner = asyncio.Runner()

    def run_block(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Run a block: as a script does, or on the document's loop if it awaits."""
        __tracebackhide__ = True
        outcome = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            self._runner.run(outcome)

    def run_typed(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Run what was typed at a prompt: on the document's loop, as `python -m asyncio` does."""
        __tracebackhide__ = True

        async def main() -> None:
            outcome = eval(code, namespace)
            if code.co_flags & inspect.CO_COROUTINE:
                await outcome

        self._runner.run(main())

    def close(self) -> None:
        """Close the loop, and see that nothing is left of the document."""
        self._runner.close()
        if "asyncgraph.dask.bridge" in sys.modules:  # which a program keeps until it ends
            sys.modules["asyncgraph.dask.bridge"].close_bridges()
        if leaks := self._before.leaks_after_grace():
            raise AssertionError(f"the document left behind\n{listing(leaks)}")


def markdown(folder: Path, pattern: str) -> Sybil:
    """Return what collects the Python blocks of the Markdown files below a folder."""
    parsers = [SkipParser(), _fenced_blocks]
    return Sybil(parsers, path=str(folder), pattern=pattern, setup=_open_script, teardown=_close)


def docstrings(folder: Path, pattern: str) -> Sybil:
    """Return what collects the `>>>` lines in the docstrings of the Python files below a folder."""
    return Sybil([_prompts], path=str(folder), pattern=pattern, setup=_open, teardown=_close)


def _open(namespace: dict[str, Any]) -> None:
    node._counters.clear()  # no node has been named before
    namespace[_SESSION] = _Session()


def _open_script(namespace: dict[str, Any]) -> None:
    # As for a script: `if __name__ == "__main__":` runs, and functions travel to workers as a script's do.
    namespace["__name__"] = "__main__"
    _open(namespace)


def _close(namespace: dict[str, Any]) -> None:
    session = namespace[_SESSION]
    namespace.clear()
    session.close()


def _fenced_blocks(document: Document) -> Iterable[Region]:
    for region in RawFencedCodeBlockLexer(_INFO)(document):
        language, source = region.lexemes["language"].lower(), region.lexemes["source"]
        if language not in _LANGUAGES:
            continue
        if language == "pycon" or source.lstrip().startswith(">>>"):
            examples = doctest.DocTestParser().get_examples(source, document.path)
            region.parsed, region.evaluator = _Transcript(examples, offset=1), _replay
        else:
            region.parsed, region.evaluator = source, _run_block
        yield region


def _prompts(document: Document) -> Iterable[Region]:
    found = list(doctest.DocTestParser._EXAMPLE_RE.finditer(document.text))  # type: ignore[attr-defined]
    examples = doctest.DocTestParser().get_examples(document.text, document.path)
    if examples:
        transcript = _Transcript(examples, offset=-examples[0].lineno)
        yield Region(found[0].start(), found[-1].end(), transcript, _replay)


def _run_block(example: Example) -> None:
    __tracebackhide__ = True
    code = _compile(example.parsed, example.path, example.line, "exec")
    example.namespace[_SESSION].run_block(code, example.namespace)


def _replay(example: Example) -> str | None:
    """Run the examples of a transcript in order; return how the first that differs differs."""
    transcript: _Transcript = example.parsed
    if not transcript.examples:
        return "a block marked as a session has no >>> line"
    for step in transcript.examples:
        if difference := _replay_step(step, example, example.line + transcript.offset + step.lineno):
            return difference
    return None


def _replay_step(step: doctest.Example, example: Example, line: int) -> str | None:
    if doctest.SKIP in step.options:
        return f"line {line}: # doctest: +SKIP is not honoured; skip the whole block, with a comment"
    code = _compile(step.source, example.path, line - 1, "single")
    with _printed() as printed:
        try:
            example.namespace[_SESSION].run_typed(code, example.namespace)
        except Exception as error:
            if step.exc_msg is None:
                raise
            wanted, got = step.exc_msg, _shown(error)
        else:
            wanted, got = step.exc_msg or step.want, printed.getvalue()
    return _difference(step, wanted, got, line)


def _difference(step: doctest.Example, wanted: str, got: str, line: int) -> str | None:
    flags = doctest.ELLIPSIS
    for flag, is_on in step.options.items():
        flags = flags | flag if is_on else flags & ~flag
    if _CHECKER.check_output(wanted, got, flags):
        return None
    expected = doctest.Example(step.source, wanted)
    return f"line {line}: {step.source}{_CHECKER.output_difference(expected, got, flags)}"


def _shown(error: Exception) -> str:
    """Return the last lines of a traceback, without notes: documents show only what is wrong."""
    report = traceback.TracebackException.from_exception(error)
    report.__notes__ = None  # type: ignore[attr-defined]
    return "".join(report.format_exception_only())


def _compile(source: str, path: str, line: int, mode: str) -> CodeType:
    """Compile the source that starts behind a line of a document, so that tracebacks show the document."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, path, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    return compile(ast.increment_lineno(tree, line), path, mode, flags, dont_inherit=True)


@contextlib.contextmanager
def _printed() -> Iterator[io.StringIO]:
    """Collect what is printed, the values of bare expressions included."""

    def show(value: object) -> None:
        if value is not None:
            print(repr(value))

    hook, sys.displayhook = sys.displayhook, show
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            yield printed
    finally:
        sys.displayhook = hook
