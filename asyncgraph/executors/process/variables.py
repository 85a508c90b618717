"""Context variables on their way to worker processes and back: which is which, on either side.

A `ContextVar` does not pickle: there is nothing in it but its identity. Here it goes as a reference, which
finds the same variable on the other side: by the name that a module has for it, or else by a number. The
number also serves for variables of `__main__`, which workers do not import, and of notebooks: the first time
that one is met in a worker it is made there, with the same name and default, and from then on it is that.

Used on both sides, and by workers before anything else, so it imports next to nothing.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextvars import Context, ContextVar, copy_context
from types import ModuleType
from typing import Any

__all__ = ["Place", "Reference", "context_with", "place_of", "reference_to", "variable_at"]

Variable = ContextVar[Any]

# The module, the name in it, and the key if that is the name of a dictionary.
Place = tuple[str, str, str | None]

# A place, or None; the process that has numbered the variable, and its number there; its name; and, where it
# may have to be made there, its default in a tuple, which is empty if there is none.
Reference = tuple[Place | None, int, int, str, tuple[Any, ...]]

# The variables that have been met, and what they are known by. They are never forgotten: each is as large as
# an empty list, and whoever follows the documentation of contextvars makes a handful of them, for ever.
_known: dict[tuple[int, int], Variable] = {}
_numbers: dict[Variable, tuple[int, int]] = {}
_places: dict[Variable, Place | None] = {}
_counter = itertools.count()


def place_of(variable: Variable) -> Place | None:
    """Where `variable` can be found: a name of a module, or an item of a dictionary that has such a name.

    Modules that workers can import come before `__main__`. None if there is no such place.
    """
    place = _places.get(variable)
    if place is None or _at(place) is not variable:
        named = sorted(_named(variable), key=_is_main)
        place = _places[variable] = named[0] if named else next(_in_dictionaries(variable), None)
    return place


def reference_to(variable: Variable, by_value: Collection[str] = ()) -> Reference:
    """What finds `variable` on the other side.

    Args:
        variable: The variable.
        by_value: Modules that cannot be imported there.
    """
    # To look through all modules takes milliseconds: one that is nowhere is not looked for again each time.
    is_nowhere = variable in _places and _places[variable] is None
    place = None if is_nowhere else place_of(variable)
    if place is not None and (_is_main(place) or place[0] in by_value):
        place = None
    is_imported = place is not None and place[2] is None
    return place, *_number_of(variable), variable.name, () if is_imported else _default_of(variable)


def variable_at(
    place: Place | None, process: int, number: int, name: str, default: tuple[Any, ...]
) -> Variable:
    """The other end of `reference_to`.

    Raises:
        ModuleNotFoundError: The module cannot be imported here, or lacks the variable.
    """
    variable = _known.get((process, number))
    if variable is None:
        variable = _made(name, default) if place is None else _imported(place, name, default)
        _known[process, number] = variable
        _numbers.setdefault(variable, (process, number))
    return variable


def context_with(values: Iterable[tuple[Reference, Any]]) -> Context:
    """A copy of the present context, in which these variables have these values."""
    context = copy_context()
    for reference, value in values:
        context.run(variable_at(*reference).set, value)
    return context


def _number_of(variable: Variable) -> tuple[int, int]:
    number = _numbers.get(variable)
    if number is None:
        number = _numbers.setdefault(variable, (os.getpid(), next(_counter)))
        _known[number] = variable
    return number


def _made(name: str, default: tuple[Any, ...]) -> Variable:
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


def _default_of(variable: Variable) -> tuple[Any, ...]:
    """The default, in a tuple, or an empty one: in an empty context it is all that there is."""
    try:
        return (Context().run(variable.get),)
    except LookupError:
        return ()


def _imported(place: Place, name: str, default: tuple[Any, ...]) -> Variable:
    from importlib import import_module

    module, attribute, key = place
    owner = import_module(module)
    variable = _at(place)
    if variable is None and key is not None and type(getattr(owner, attribute, None)) is dict:
        # As structlog does, which makes each variable when it is first bound.
        variable = getattr(owner, attribute).setdefault(key, _made(name, default))
    if type(variable) is not ContextVar:
        # As if there were no such module: what is missing here has to be sent in another way.
        raise ModuleNotFoundError(f"{module} has no context variable {attribute} here", name=module)
    return variable


def _at(place: Place) -> Any:
    """What is at the place, if anything is."""
    module, attribute, key = place
    found = getattr(sys.modules.get(module), attribute, None)
    return found if key is None else found.get(key) if type(found) is dict else None


def _is_main(place: Place) -> bool:
    return place[0] == "__main__"


def _named(variable: Variable) -> Iterator[Place]:
    return ((module, name, None) for module, name, value in _contents() if value is variable)


def _in_dictionaries(variable: Variable) -> Iterator[Place]:
    for module, name, value in _contents():
        if type(value) is dict:
            for key, item in list(value.items()):
                if item is variable and type(key) is str:
                    yield module, name, key


def _contents() -> Iterator[tuple[str, str, Any]]:
    """What is in which module under which name, as it is now: other threads may import some meanwhile."""
    main = sys.modules.get("__main__")
    for module, content in list(sys.modules.items()):
        # `multiprocessing` gives `__main__` another name, by which workers would look for it in vain.
        if content is main and module != "__main__":
            continue
        if isinstance(content, ModuleType):
            # Not with `getattr`, on which one that is to be loaded late would load itself.
            for name, value in list(object.__getattribute__(content, "__dict__").items()):
                yield module, name, value
