"""The page: one file that needs nothing else, with all runs that were seen, one of them shown at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncgraph.observe.report.html import shipped, text
from asyncgraph.observe.report.payload import payload_of
from asyncgraph.observe.report.sections import sections_of
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of, duration

__all__ = ["page_of"]

# Nothing is loaded from anywhere, and nothing is sent.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page_of(studies: Sequence[Study], omitted: int = 0) -> Iterator[str]:
    """The text of the page, in pieces.

    Args:
        studies: The runs, in the order in which they began.
        omitted: How many runs there were before these.
    """
    title = studies[-1].run.name if len(studies) == 1 else f"{len(studies)} runs"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)} - asyncgraph report</title><link rel="icon" href="data:,">\n'
        f"<style>\n{shipped('style.css')}</style></head><body>\n"
    )
    brand = '<span class="brand">asyncgraph report</span>'
    yield f'<header class="top">{brand}{_choice(studies, omitted)}</header>\n<main>\n'
    for study in studies:
        id = study.run.id
        hidden = "" if study is studies[-1] else " hidden"
        yield f'<article id="run-{id}" data-run="{id}"{hidden}>\n'
        yield sections_of(study)
        yield f'</article>\n<script type="application/json" id="data-{id}">'
        yield from payload_of(study)
        yield "</script>\n"
    yield (
        "<footer>Times are those of the calls themselves, on the clock of the machine. Nothing in this "
        "file is an argument or a value of the program; messages and tracebacks of failures are as they "
        "were.</footer>\n"
        f'</main><div id="tip" role="tooltip" hidden></div>\n<script>\n{shipped("script.js")}</script>\n'
        "</body></html>\n"
    )


def _choice(studies: Sequence[Study], omitted: int) -> str:
    if len(studies) == 1:
        return ""
    options = "".join(
        f'<option value="{study.run.id}"{" selected" if study is studies[-1] else ""}>'
        f"{study.run.id}: {text(study.run.name)} ({study.run.state}, {duration(study.seconds)})</option>"
        for study in studies
    )
    note = f'<span class="soft">{count_of(omitted, "earlier run")} not shown</span>' if omitted else ""
    return f'<label>Run <select id="choice">{options}</select></label>{note}'
