"""How an exception leaves its worker whole: class, arguments, attributes, causes, notes and frames.

An exception is sent as a flat list of records, one for every exception that can be reached from it:
its cause and context, the members of a group, and those in arguments or attributes. References among
them are indices, so that circles do no harm and no chain is too long. A record is made in the worker,
tried out there, and made again with less until it can be rebuilt; the last resort is a `RemoteError`.

Pickle's own way is not good enough: it calls the user's `__init__` with `args`, which fails for every
class whose `__init__` takes something else, and it forgets causes, notes and frames.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from asyncgraph.errors import RemoteError
from asyncgraph.executors.process import anatomy, tracebacks
from asyncgraph.executors.process.anatomy import Unpicklable
from asyncgraph.executors.process.pickling import PROTOCOL
from asyncgraph.executors.process.serialization import Pickler
from asyncgraph.executors.safe_text import describe_error, safe_repr, safe_str

__all__ = ["decode", "encode"]

# More exceptions than this in one tree are a loop that forgot to stop; what they hang on is cut off.
_MOST = 10_000

Find = Callable[[int], BaseException]


class _Record(NamedTuple):
    """One exception as it travels. What may fail to unpickle is bytes, for itself."""

    qualname: str
    message: str
    notes: tuple[str, ...]
    attributes: dict[str, str]
    frames: tracebacks.Frames
    cause: int | None
    context: int | None
    suppress: bool
    construct: bytes | None  # how to make it; None: it cannot be
    state: bytes | None  # what to set on it then


class _Table:
    """The exceptions of one tree, in the order in which they were met."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._indices: dict[int, int] = {}

    def index(self, error: BaseException | None) -> int | None:
        """The index of `error`, a new one if need be; None if there is no room for it."""
        if error is None or (id(error) not in self._indices and len(self.errors) >= _MOST):
            return None
        if id(error) not in self._indices:
            self._indices[id(error)] = len(self.errors)
            self.errors.append(error)
        return self._indices[id(error)]

    def dumps(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        _ErrorPickler(buffer, self).dump(value)
        return buffer.getvalue()


class _ErrorPickler(Pickler):
    """Sends an index in place of every exception it meets."""

    def __init__(self, buffer: io.BytesIO, table: _Table) -> None:
        super().__init__(buffer, PROTOCOL)
        self._table = table

    def persistent_id(self, obj: Any) -> int | None:
        """The index, if `obj` is an exception."""
        if not issubclass(type(obj), BaseException):
            return None
        index = self._table.index(obj)
        if index is None:
            raise pickle.PicklingError("too many exceptions hang together here")
        return index


class _ErrorUnpickler(pickle.Unpickler):
    """Finds the exceptions again that an `_ErrorPickler` has sent the indices of."""

    def __init__(self, data: bytes, find: Find) -> None:
        super().__init__(io.BytesIO(data))
        self._find = find

    def persistent_load(self, pid: int) -> BaseException:
        """The exception of that index."""
        return self._find(pid)


# --- in the worker: taking apart ------------------------------------------------------------------


def encode(error: BaseException) -> bytes:
    """Turn `error` into bytes for `decode`; never fails. Takes the tracebacks off the whole tree.

    Without them, nothing that the failed call was working on is kept alive by its exception.
    """
    try:
        return _encode_tree(error)
    except BaseException as failure:  # a class that overrides what nobody overrides
        qualname = f"{type(error).__module__}.{type(error).__qualname__}"
        message = f"{qualname}: it cannot be taken apart ({describe_error(failure)})"
        return _encode_tree(RemoteError(message, type_qualname=qualname))


def _encode_tree(error: BaseException) -> bytes:
    table = _Table()
    table.index(error)
    records: list[_Record] = []
    while len(records) < len(table.errors):
        records.append(_record(table.errors[len(records)], table))
    for each in table.errors:
        anatomy.link(each, "__traceback__", None)
    return pickle.dumps([tuple(record) for record in records], PROTOCOL)


def _record(error: BaseException, table: _Table) -> _Record:
    kind = type(error)
    attributes = anatomy.attributes_of(error)
    notes = attributes.pop("__notes__", ())
    construct, state = _recipe(error, table)
    return _Record(
        qualname=f"{kind.__module__}.{kind.__qualname__}",
        message=safe_str(error),
        notes=tuple(map(safe_str, notes)) if isinstance(notes, (list, tuple)) else (),
        attributes={str(name): safe_repr(value) for name, value in attributes.items()},
        frames=tracebacks.flatten(error.__traceback__),
        cause=table.index(error.__cause__),
        context=table.index(error.__context__),
        suppress=error.__suppress_context__,
        construct=construct,
        state=state,
    )


def _recipe(error: BaseException, table: _Table) -> tuple[bytes, bytes] | tuple[None, None]:
    """The best instructions for rebuilding `error` that work when they are tried here."""
    for instructions in (_by_its_own_reduce, _by_parts, _by_parts_that_pickle):
        try:
            for construct, state in instructions(error, table):
                recipe = table.dumps(construct), table.dumps(state)
                if _works(recipe, error, table):
                    return recipe
        except BaseException:  # the user's code; the next way may do without it
            continue
    return None, None


def _works(recipe: tuple[bytes, bytes], error: BaseException, table: _Table) -> bool:
    find = table.errors.__getitem__
    rebuilt = _construct(recipe[0], find)
    _restore(rebuilt, recipe[1], find)
    return type(rebuilt) is type(error)


Instructions = Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]


def _by_its_own_reduce(error: BaseException, _: _Table) -> Instructions:
    # Whoever writes a __reduce__ knows best. (A __getstate__ is no such sign: the __reduce__ that
    # exceptions inherit never calls it.)
    if anatomy.has_own_reduce(type(error)):
        reduced: Any = error.__reduce_ex__(PROTOCOL)
        function, arguments, *more = reduced
        notes = {name: note for name, note in anatomy.attributes_of(error).items() if name == "__notes__"}
        yield ("call", function, arguments), ("set", more[0] if more else None, notes)


def _by_parts(error: BaseException, _: _Table) -> Instructions:
    base = anatomy.c_base(type(error))
    construct = ("assemble", type(error), base, anatomy.bare_arguments(error))
    yield construct, ("restore", anatomy.members_of(error), anatomy.attributes_of(error))


def _by_parts_that_pickle(error: BaseException, table: _Table) -> Instructions:
    base = anatomy.c_base(type(error))
    arguments = tuple(_or_unpicklable(item, table) for item in anatomy.bare_arguments(error))
    members = anatomy.members_of(error)
    shown = tuple(_or_unpicklable(item, table) for item in members.pop("args", ()))
    members = {name: _or_unpicklable(item, table) for name, item in members.items()}
    attributes = {name: _or_unpicklable(item, table) for name, item in anatomy.attributes_of(error).items()}
    yield ("assemble", type(error), base, arguments), ("restore", {**members, "args": shown}, attributes)


def _or_unpicklable(item: Any, table: _Table) -> Any:
    try:
        _ErrorUnpickler(table.dumps(item), table.errors.__getitem__).load()
    except BaseException:  # the user's code, which may do anything
        return Unpicklable(safe_repr(item))
    return item


# --- in the parent: putting together --------------------------------------------------------------


def decode(data: bytes | memoryview) -> BaseException:
    """Rebuild the exception that `encode` was given; what cannot be becomes a `RemoteError`."""
    return _Rebuilding([_Record(*record) for record in pickle.loads(data)]).run()


class _Rebuilding:
    """First every exception is made, then attributes, links and frames are set: circles may close."""

    def __init__(self, records: list[_Record]) -> None:
        self._records = records
        self._made: dict[int, BaseException] = {}
        self._being_made: set[int] = set()
        self._stand_ins: set[int] = set()

    def run(self) -> BaseException:
        for index in range(len(self._records)):
            self._find(index)
        for index, record in enumerate(self._records):
            if index not in self._stand_ins:
                self._restore(self._made[index], record)
            _complete(self._made[index], record, self._made)
        return self._made[0]

    def _find(self, index: int) -> BaseException:
        if index not in self._made:
            if index in self._being_made:
                raise ValueError("an exception is among its own arguments")
            self._being_made.add(index)
            self._made[index] = self._make(index, self._records[index])
        return self._made[index]

    def _make(self, index: int, record: _Record) -> BaseException:
        try:
            if record.construct is not None:
                return _construct(record.construct, self._find)
        except BaseException:  # the class may be missing here, or its __reduce__ do anything
            pass
        self._stand_ins.add(index)
        return _stand_in(record)

    def _restore(self, error: BaseException, record: _Record) -> None:
        try:
            _restore(error, record.state or b"", self._find)
        except BaseException:  # a class may be missing here, or its __setstate__ do anything
            shown = {name: Unpicklable(text) for name, text in record.attributes.items()}
            anatomy.restore(error, {}, {**shown, "__notes__": list(record.notes)})


def _complete(error: BaseException, record: _Record, made: dict[int, BaseException]) -> None:
    anatomy.link(error, "__cause__", None if record.cause is None else made[record.cause])
    anatomy.link(error, "__context__", None if record.context is None else made[record.context])
    anatomy.link(error, "__suppress_context__", record.suppress)
    anatomy.link(error, "__traceback__", tracebacks.rebuild(record.frames[0]))
    if record.frames[1]:
        with contextlib.suppress(Exception):  # a class may refuse notes; the error itself matters more
            error.add_note(f"asyncgraph: {record.frames[1]} frames in the middle are omitted")


def _construct(data: bytes, find: Find) -> BaseException:
    how, *rest = _ErrorUnpickler(data, find).load()
    if how == "assemble":
        return anatomy.assemble(*rest)
    function, arguments = rest
    error: BaseException = function(*arguments)
    return error


def _restore(error: BaseException, data: bytes, find: Find) -> None:
    how, state, attributes = _ErrorUnpickler(data, find).load()
    if how == "restore":
        anatomy.restore(error, state, attributes)
        return
    if state is not None:
        error.__setstate__(state)
    anatomy.restore(error, {}, attributes)


def _stand_in(record: _Record) -> RemoteError:
    shown = f"{record.qualname}: {record.message}"
    error = RemoteError(
        f"{shown}\n(This exception of a worker process could not be rebuilt here; its text is complete.)",
        type_qualname=record.qualname,
        traceback_text=tracebacks.render(record.frames, shown),
        notes=record.notes,
        attrs_repr=record.attributes,
    )
    error.message = record.message  # not a keyword above: the constructor has a parameter of that name
    for note in record.notes:
        error.add_note(note)
    return error
