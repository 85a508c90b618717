"""Exceptions leave their worker whole: rebuilt in the same class, with all they had, or named in full."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import json
import subprocess
import sys
import threading
import traceback
import weakref
from types import TracebackType
from typing import ClassVar

import pytest

from asyncgraph.errors import NodeTimeoutError, RemoteError
from asyncgraph.executors.process.anatomy import Unpicklable
from asyncgraph.executors.process.exceptions import decode, encode
from tests.executors.process import remote


def cross(error):
    return decode(encode(error))


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def raised_by_several_lines():
    try:
        return int(
            "text",
            10,
        )
    except ValueError as caught:
        return caught


def place(entry):
    """What a debugger is told of a frame."""
    frame, line = entry
    code = frame.f_code
    return code.co_filename, code.co_name, code.co_firstlineno, line, frame.f_globals["__name__"]


def marked(frame):
    """What is printed of a frame."""
    return frame.name, frame.lineno, frame.end_lineno, frame.colno, frame.end_colno


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, *, code):
        self.code = code


class OwnReduce(Exception):
    def __init__(self, a, b):
        super().__init__(a + b)
        self.a, self.b = a, b

    def __reduce__(self):
        return OwnReduce, (self.a, self.b)


class NotInPython(Exception):
    """As a class in C or Rust: what it holds is in no attribute, and what pickles it is no function."""

    _held: ClassVar = weakref.WeakKeyDictionary()

    def __init__(self, code):
        self._held[self] = code

    def code(self):
        return self._held[self]

    __reduce__ = property(lambda self: lambda: (NotInPython, (self.code(),)))


class BadReduce(Exception):
    def __init__(self, text):
        super().__init__(text)

    def __reduce__(self):
        return BadReduce, ()


class RaisingReduce(Exception):
    def __reduce__(self):
        raise SystemExit("no")


class Frozen(Exception):
    def __setattr__(self, name, value):
        raise AttributeError("frozen")

    def __init__(self, value):
        self.__dict__["value"] = value


class FailingStr(Exception):
    def __str__(self):
        raise ValueError

    __repr__ = __str__


class TwoBases(KeyError, AttributeError):
    pass


class CustomGroup(ExceptionGroup):
    def __new__(cls, errors, code):
        self = super().__new__(cls, "custom", errors)
        self.code = code
        return self

    def __init__(self, errors, code):
        pass

    def derive(self, excs):
        return CustomGroup(excs, self.code)


def _decode_error():
    try:
        json.loads("[1,")
    except json.JSONDecodeError as error:
        return error


def _unicode_error():
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error


def _syntax_error():
    try:
        compile("a b", "file.py", "exec")
    except SyntaxError as error:
        return error


ATTRIBUTES = [
    (ValueError("a", 1), ()),
    (OSError(2, "text", "file"), ("errno", "strerror", "filename", "filename2")),
    (FileNotFoundError(2, "text", "one", None, "two"), ("errno", "filename", "filename2")),
    (BlockingIOError(11, "again", 5), ("characters_written",)),
    (OSError("only text"), ("errno",)),
    (_unicode_error(), ("object", "start", "end", "reason", "encoding")),
    (UnicodeEncodeError("ascii", "ü", 0, 1, "why"), ("object", "start", "end", "reason")),
    (_syntax_error(), ("filename", "lineno", "offset", "text", "msg", "end_lineno")),
    (ImportError("text", name="module", path="path"), ("name", "path", "msg")),
    (KeyError("key"), ()),
    (NameError("text", name="variable"), ("name",)),
    (AttributeError("text", name="attribute", obj=threading.Lock()), ("name",)),
    (SystemExit(3), ("code",)),
    (StopIteration(5), ("value",)),
    (subprocess.CalledProcessError(3, ["cmd"], b"out", b"err"), ("returncode", "cmd", "output", "stderr")),
    (subprocess.TimeoutExpired("cmd", 1.5), ("cmd", "timeout")),
    (_decode_error(), ("msg", "doc", "pos", "lineno", "colno")),
    (remote.TwoArguments(1, "text"), ("code", "text")),
    (Slotted(code=5), ("code",)),
    (OwnReduce("x", "y"), ("a", "b")),
    (BadReduce("text"), ()),
    (RaisingReduce("text"), ()),
    (Frozen(7), ("value",)),
    (TwoBases("text"), ()),
    (NodeTimeoutError("late", key="k"), ("key",)),
]


@pytest.mark.parametrize(("error", "names"), ATTRIBUTES, ids=lambda value: type(value).__name__)
def test_an_exception_keeps_class_arguments_and_attributes(error, names):
    """Whatever its class's constructor wants, an exception comes back as what it was."""
    result = cross(error)
    assert type(result) is type(error)
    assert result.args == error.args
    assert str(result) == str(error)
    assert {name: getattr(result, name) for name in names} == {name: getattr(error, name) for name in names}


def test_an_exception_that_cannot_be_taken_apart_is_named():
    """Not even a class that overrides the interpreter's own attributes can stop its error."""

    class Hostile(Exception):
        @property
        def __cause__(self):
            raise SystemExit

    result = cross(Hostile("text"))
    assert isinstance(result, RemoteError)
    assert "Hostile" in str(result)


def test_a_class_that_is_not_importable_goes_by_value():
    """A class made inside a function comes back as itself."""

    class Local(Exception):
        def __init__(self, a, b):
            self.a, self.b = a, b

    result = cross(Local(1, 2))
    assert type(result) is Local
    assert (result.a, result.b) == (1, 2)


def test_a_class_that_is_not_written_in_python_knows_how_it_is_pickled():
    """A __reduce__ that is no Python function is used, too, as that of pydantic's ValidationError."""
    result = cross(raised(NotInPython(7)))
    assert type(result) is NotInPython
    assert result.code() == 7


def test_notes_and_added_attributes_cross():
    """Notes and what was set on the instance come along, for classes with a __reduce__ of their own too."""
    for error in (ValueError("text"), OwnReduce("x", "y")):
        error.add_note("first")
        error.add_note("second")
        assert cross(error).__notes__ == ["first", "second"]
    error = ValueError("text")
    error.extra = {"a": [1]}
    assert cross(error).extra == {"a": [1]}


def test_cause_context_and_suppression_cross():
    """The whole chain is kept, and which part of it is shown."""
    error = ValueError("top")
    error.__context__ = KeyError("context")
    error.__cause__ = TypeError("cause")
    error.__cause__.__context__ = error.__context__
    result = cross(error)
    assert type(result.__cause__) is TypeError
    assert result.__context__ is result.__cause__.__context__
    assert result.__suppress_context__
    bare = ValueError("bare")
    bare.__context__ = KeyError("context")
    assert not cross(bare).__suppress_context__


def test_circles_of_causes_and_attributes_do_no_harm():
    """Exceptions may refer to each other and to themselves."""
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = second, first
    first.me, second.others = first, [first, second]
    result = cross(first)
    assert result.__cause__.__context__ is result
    assert result.me is result
    assert result.__cause__.others == [result, result.__cause__]


def test_an_exception_among_its_own_arguments_is_named():
    """What cannot be made at all becomes a RemoteError, and does not loop."""
    error = ValueError("text")
    error.args = (error,)
    assert isinstance(cross(error), (RemoteError, ValueError))


def test_long_chains_cross():
    """Two thousand exceptions in a row are no problem."""
    error = first = ValueError(0)
    for number in range(1, 2000):
        error.__context__ = ValueError(number)
        error = error.__context__
    result = cross(first)
    for number in range(2000):
        assert result.args == (number,)
        result = result.__context__
    assert result is None


def test_groups_cross_with_their_members():
    """A group keeps its message, members, nesting and class."""
    group = ExceptionGroup(
        "m", [remote.TwoArguments(1, "x"), ExceptionGroup("inner", [OSError(2, "t", "f")])]
    )
    result = cross(group)
    assert type(result) is ExceptionGroup
    assert result.message == "m"
    assert type(result.exceptions[0]) is remote.TwoArguments
    assert result.exceptions[1].exceptions[0].filename == "f"
    mixed = cross(BaseExceptionGroup("m", [KeyboardInterrupt(), ValueError()]))
    assert type(mixed) is BaseExceptionGroup
    custom = cross(CustomGroup([ValueError("v")], 7))
    assert type(custom) is CustomGroup
    assert (custom.code, custom.exceptions[0].args) == (7, ("v",))


def test_unpicklable_parts_are_replaced_one_by_one():
    """What cannot cross leaves its repr behind; all else is there."""
    error = remote.TwoArguments(1, "text")
    error.lock, error.fine = threading.Lock(), [1, 2]
    error.args = ("fine", error.lock)
    error.loads_badly = remote.FailsWhenLoaded()
    result = cross(error)
    assert type(result) is remote.TwoArguments
    assert result.args[0] == "fine"
    assert result.fine == [1, 2]
    assert result.code == 1
    assert isinstance(result.args[1], Unpicklable)
    assert isinstance(result.lock, Unpicklable)
    assert "lock" in repr(result.lock)
    assert isinstance(result.loads_badly, Unpicklable)


def test_an_unprintable_exception_crosses():
    """Neither __str__ nor __repr__ need to work."""
    error = FailingStr("text")
    error.attribute = error
    result = cross(error)
    assert type(result) is FailingStr
    assert result.args == ("text",)


def test_a_class_that_is_missing_here_becomes_a_remote_error():
    """The stand-in has everything that can be said of the original, and its place in the chain."""
    module = type(sys)("for_a_moment")
    sys.modules["for_a_moment"] = module
    exec("class Odd(Exception):\n    pass", module.__dict__)
    odd = raised(module.Odd("text"))
    odd.detail = [1]
    odd.add_note("a note")
    odd.__cause__ = KeyError("cause")
    error = ValueError("top")
    error.__cause__ = odd
    data = encode(error)
    del sys.modules["for_a_moment"]
    result = decode(data).__cause__
    assert isinstance(result, RemoteError)
    assert result.type_qualname == "for_a_moment.Odd"
    assert result.message == "text"
    assert result.notes == ("a note",)
    assert result.attrs_repr == {"detail": "[1]"}
    assert "in raised" in result.traceback_text
    assert result.traceback_text.endswith("for_a_moment.Odd: text")
    assert type(result.__cause__) is KeyError
    assert "for_a_moment.Odd: text" in str(result)


def test_an_attribute_whose_class_is_missing_here_is_shown():
    """Where only an attribute cannot be rebuilt, the exception itself can."""
    module = type(sys)("for_a_moment")
    sys.modules["for_a_moment"] = module
    exec("class Part:\n    __repr__ = lambda self: 'a part'", module.__dict__)
    error = ValueError("text")
    error.part = module.Part()
    error.add_note("a note")
    data = encode(error)
    del sys.modules["for_a_moment"]
    result = decode(data)
    assert type(result) is ValueError
    assert result.args == ("text",)
    assert result.part == Unpicklable("a part")
    assert result.__notes__ == ["a note"]


def test_frames_cross_without_variables():
    """The traceback shows file, lines, columns and function of the original, and holds none of its values."""
    for error in (raised(ValueError("text")), raised_by_several_lines()):
        original = [*map(place, traceback.walk_tb(error.__traceback__))]
        summary = [*map(marked, traceback.extract_tb(error.__traceback__))]
        result = cross(error)
        assert [*map(place, traceback.walk_tb(result.__traceback__))] == original
        assert [*map(marked, traceback.extract_tb(result.__traceback__))] == summary
        assert result.__traceback__.tb_frame.f_locals == {}
        assert error.__traceback__ is None


@pytest.mark.parametrize(("instruction", "line"), [(-1, 7), (0, 0), (10_000, 1)])
def test_a_frame_of_which_little_is_known_crosses(instruction, line):
    """Other compilers than Python's know of no instruction, or of no line: there are no columns then."""
    error = ValueError("text")
    error.__traceback__ = TracebackType(None, sys._getframe(), instruction, line)
    result = cross(error)
    (frame,) = traceback.extract_tb(result.__traceback__)
    assert (frame.filename, frame.lineno, frame.colno) == (__file__, line, None)
    assert result.__traceback__.tb_lasti >= 0


def test_of_a_deep_recursion_both_ends_are_kept():
    """A RecursionError crosses with its first and last hundred frames and a note on the rest."""
    try:
        remote.recurse()
    except RecursionError as caught:
        error = caught
    depth = len(list(traceback.walk_tb(error.__traceback__)))
    result = cross(error)
    assert type(result) is RecursionError
    assert len(list(traceback.walk_tb(result.__traceback__))) == 200
    assert str(depth - 200) in result.__notes__[0]


async def test_an_exception_arrives_from_a_worker(pool):
    """End to end: class, attributes, chain, notes, and the frames of the function first."""
    error = await pool.error(remote.raise_with_everything)
    assert type(error) is FileNotFoundError
    assert (error.errno, error.filename, error.extra, error.__notes__) == (2, "/there", {"a": 1}, ["a note"])
    assert type(error.__context__) is remote.TwoArguments
    assert type(error.__context__.__cause__) is KeyError
    assert [f.name for f in traceback.extract_tb(error.__traceback__)] == ["raise_with_everything"]
    assert "raise error" in "".join(traceback.format_exception(error))


async def test_every_kind_of_exception_leaves_the_worker_alive(make_pool):
    """Whatever a call raises, its worker serves the next."""
    pool = make_pool(slots=1)
    pid = await pool.value(remote.pid)
    assert type(await pool.error(remote.raise_two_arguments, 1, "x")) is remote.TwoArguments
    assert isinstance((await pool.error(remote.raise_unpicklable)).lock, Unpicklable)
    assert type(await pool.error(remote.raise_group)) is ExceptionGroup
    assert type(await pool.error(remote.recurse)) is RecursionError
    odd = await pool.error(remote.raise_class_only_known_here)
    assert isinstance(odd, RemoteError)
    assert (odd.message, odd.attrs_repr, odd.notes) == ("an odd one", {"detail": "42"}, ("odd note",))
    assert await pool.value(remote.pid) == pid
