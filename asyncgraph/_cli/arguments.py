"""The words of the command line: which commands and options there are, and what they say of themselves.

It decides nothing but whether an option has a value that can be right.
"""

from __future__ import annotations

import argparse
import keyword
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from asyncgraph._cli.exits import FINE, MISUSED

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parse"]

_EXITS = """\
exit codes:
  0    all is well
  1    the graph failed, its value is no JSON, or `doctor` has found something that would not work
  2    the command was given something that is not right, or a file could not be written
  3    what was to be run or shown could not be loaded
  130  interrupted by Ctrl-C
  141  whoever was reading the output has gone, as `head` does
  143  ended by SIGTERM
"""

_TARGET = """\
TARGET is file.py:NAME or module:NAME, where NAME is one of
  - a node, a list, tuple, dict or dataclass with nodes in it, or what `compile` has given;
  - a function, plain or `async def`, that returns one of these. Its arguments are given as inputs.
A file is imported, and not run as a script: what is under `if __name__ == "__main__":` is left out.
"""

_RUN = f"""\
{_TARGET}
The value is printed on standard output: text as it is, anything else as Python writes it, None not at all.
Everything else that asyncgraph says goes to standard error. An `async def` that returns no node has its own
value printed; the graphs that it computes are watched, too.

examples:
  asyncgraph run graph.py:total
  asyncgraph run graph.py:build --input url=https://example.org --input count=3 --progress
  asyncgraph run service.graphs:page --report run.html --trace run.json

{_EXITS}"""

_SHOW = f"""\
{_TARGET}
Nothing is run, but for the function that makes the nodes, if TARGET is one: all of it, also graphs that it
computes itself.

examples:
  asyncgraph show graph.py:total
  asyncgraph show graph.py:total -o graph.svg
  asyncgraph show graph.py:total --format mermaid

{_EXITS}"""

TEXT_FORMATS = ("text", "mermaid", "dot", "json", "svg", "html")
"""What `show` can print; the other formats are for files."""


PICTURES = (".svg", ".html", ".png", ".pdf")
"""The suffixes of what can be colored."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The options, with the function that carries the command out as `command`.

    Raises:
        SystemExit: They are not right, or `--help` or `--version` was asked for. What there is to say has
            been printed.
    """
    parser = _parser()
    options = parser.parse_args(_with_ports(argv))
    if options.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(MISUSED)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asyncgraph",
        description="Run lazy graphs of calls, look at them, and see what they run on.",
        epilog=f"`asyncgraph COMMAND --help` says more.\n\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, help: str, epilog: str, command: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help,
            description=help[:1].upper() + help[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(command=_late(command))
        return made

    _add_run(add("run", "compute a graph and print its value", _RUN, "running:run"))
    _add_show(add("show", "print a graph, or draw it", _SHOW, "showing:show"))
    _add_demo(add("demo", "run a small graph, and leave pictures of it", _EXITS, "demo:demo"))
    _add_doctor(
        add("doctor", "say what asyncgraph runs on here, and what would not work", _EXITS, "doctor:doctor")
    )
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    seeing = parser.add_argument_group("seeing")
    seeing.add_argument("--progress", action="store_true", help="show how far it is, on standard error")
    seeing.add_argument(
        "--report", type=_new_file, metavar="FILE", help="write a page about the run, as HTML"
    )
    seeing.add_argument(
        "--trace", type=_new_file, metavar="FILE", help="write what ran when and where, for ui.perfetto.dev"
    )
    seeing.add_argument(
        "--graph",
        type=_picture,
        metavar="FILE",
        help="draw the graph there, as .svg or .html, colored by how long its calls took",
    )
    seeing.add_argument(
        "--dashboard",
        nargs="?",
        const=0,
        type=_port,
        metavar="PORT",
        help="serve a page about the run on this machine while it goes on; on any free port by default",
    )
    bounds = parser.add_argument_group("running")
    bounds.add_argument("--processes", type=_at_least_one, metavar="N", help="worker processes at most")
    bounds.add_argument("--threads", type=_at_least_one, metavar="N", help="calls at once in threads")
    bounds.add_argument("--concurrency", type=_at_least_one, metavar="N", help="coroutines at once")
    bounds.add_argument("--timeout", type=_seconds, metavar="S", help="seconds until it is stopped and fails")
    bounds.add_argument(
        "--keep-going",
        action="store_true",
        help="run all that can run, whatever fails; failures are printed at the end",
    )
    output = parser.add_argument_group("the value").add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="write it as JSON")
    output.add_argument("--quiet", action="store_true", help="do not write it")
    parser.add_argument(
        "-o", "--output", type=_new_file, metavar="FILE", help="write the value there, not to standard output"
    )


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=_new_file,
        metavar="FILE",
        help="write it there, in the format of the suffix: .svg, .html, .dot, .mmd, .json, .txt, and with "
        "Graphviz .png and .pdf",
    )
    parser.add_argument(
        "--format",
        choices=(*TEXT_FORMATS, "png", "pdf"),
        help="the format, if not that of the suffix; without a file it is text, a line for each key",
    )

    parser.add_argument("--no-collapse", action="store_true", help="draw every node, however many are alike")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=_path,
        default="asyncgraph-demo",
        metavar="DIR",
        help="where graph.svg, report.html and trace.json go (default: %(default)s)",
    )


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write what was found as JSON")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="file.py:NAME or module:NAME, see below")
    parser.add_argument(
        "-i",
        "--input",
        dest="inputs",
        action=_Input,
        type=_named_value,
        default={},
        metavar="NAME=VALUE",
        help="the value of an Input, or of an argument of the function; a Python literal, or else text",
    )


def _late(place: str) -> Callable[[argparse.Namespace], int]:
    """A command that is imported when it is called."""

    def command(options: argparse.Namespace) -> int:
        module, _, name = place.partition(":")
        code: int = getattr(import_module(f"asyncgraph._cli.{module}"), name)(options)
        return code

    return command


class _Version(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, *_: Any) -> None:
        from asyncgraph import __version__

        print(f"asyncgraph {__version__}")
        raise SystemExit(FINE)


class _Input(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        options: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        name, value = values
        if name in options.inputs:
            parser.error(f"--input {name}= was given twice")
        options.inputs = {**options.inputs, name: value}


def _named_value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or keyword.iskeyword(name):
        raise argparse.ArgumentTypeError(f"write NAME=VALUE, as in url=/home or count=3, not {text!r}")
    import ast

    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not (number := int(text)):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or not (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"a port, from 0 to 65535, not {text!r}")
    return port


def _new_file(text: str) -> Path:
    path = _path(text)
    if os.path.isdir(path):  # `path.is_dir()` raises for names that are too long
        raise argparse.ArgumentTypeError(f"{text} is a folder: give a file")
    if not os.path.isdir(path.parent):
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _path(text: str) -> Path:
    from pathlib import Path  # as `ast` above, it is a third of the time that `--version` takes

    return Path(text)


def _picture(text: str) -> Path:
    path = _new_file(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"a file whose name ends in {', '.join(PICTURES)}, not {text}")
    return path


def _with_ports(argv: list[str]) -> list[str]:
    """With the port that `--dashboard` leaves out, so that the word behind it is not taken for that."""
    return [
        f"{word}=0" if word == "--dashboard" and not after.isdecimal() else word
        for word, after in zip_longest(argv, argv[1:], fillvalue="")
    ]
