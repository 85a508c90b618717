"""From `module:name` or `file.py:name` to the object with that name.

A file is imported as the module that it is, from the folder that its package is in, so that worker processes
can import it too: what it defines goes to them by name.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from asyncgraph._cli.exits import MISUSED, NOT_LOADED, CommandError

__all__ = ["Loaded", "load", "nodes_in"]


class Loaded(NamedTuple):
    """What a target leads to.

    Attributes:
        value: The object.
        module: The module that it was found in.
    """

    value: Any
    module: ModuleType


def load(target: str) -> Loaded:
    """What `target` leads to.

    Raises:
        CommandError: There is none, or its module cannot be imported.
    """
    place, colon, name = target.rpartition(":")
    if not colon or _looks_like_a_path(name):  # the colon of `C:\\graph.py` is none of ours
        place, name = target, ""
    module = _from_file(Path(place)) if _looks_like_a_path(place) else _from_name(place)
    if not name:
        raise CommandError(MISUSED, f"say what of {place}, as in {place}:NAME{_offer(module)}")
    return Loaded(_attribute(module, place, name), module)


def nodes_in(module: ModuleType) -> list[str]:
    """The names of the nodes and compiled graphs at the top level of a module, in order."""
    from asyncgraph import Compiled, Delayed

    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, Delayed | Compiled) and not name.startswith("_")
    ]


def _looks_like_a_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place or (os.altsep or os.sep) in place


# --- modules ---


def _from_name(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandError(
            MISUSED, f"{name!r} is neither a file nor a module: give file.py:NAME or module:NAME"
        )
    return _imported(name)


def _from_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):  # `path.is_file()` raises for names that are too long
        near = difflib.get_close_matches(path.name, _python_files(path.parent), n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise CommandError(NOT_LOADED, f"there is no file {path} in {os.getcwd()}{hint}")
    path = path.resolve()
    if path.suffix != ".py":
        raise CommandError(NOT_LOADED, f"{path} is no Python file: its name does not end in .py")
    root, name = _as_module(path)
    if "." in path.stem:
        raise CommandError(
            NOT_LOADED, f"{path} cannot be imported, as its name has a dot in it: give it another"
        )
    if str(root) not in sys.path[:1]:
        sys.path.insert(0, str(root))
    module = _imported(name)
    found = getattr(module, "__file__", None)
    if found is None or not os.path.samefile(found, path):
        raise CommandError(
            NOT_LOADED,
            f"{path} has the name of another module, {found or 'built into Python'}, "
            "which worker processes would find in its place: give it another name",
        )
    return module


def _as_module(path: Path) -> tuple[Path, str]:
    """The folder to import a file from, and its name there: that of the outermost package it is in."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts) or path.stem


def _python_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.py")] if os.path.isdir(folder) else []


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise CommandError(NOT_LOADED, f"{name} could not be imported", error) from None
        raise CommandError(NOT_LOADED, _not_found(name, missing)) from None
    except SystemExit as error:
        raise CommandError(
            NOT_LOADED,
            f"{name} has left the program while it was imported (sys.exit({error.code!r})): what is to "
            'happen only when it is run as a script belongs under `if __name__ == "__main__":`',
        ) from None
    except Exception as error:
        raise CommandError(NOT_LOADED, f"{name} could not be imported", error) from None


def _not_found(name: str, missing: str) -> str:
    parent, _, last = name.rpartition(".")
    module = sys.modules.get(parent) if parent else None
    if module is not None and hasattr(module, last):
        return f"{parent} is a module and {last} a name in it: write {parent}:{last}"
    folders = list(getattr(sys.modules.get(missing.rpartition(".")[0]), "__path__", sys.path))
    near = difflib.get_close_matches(missing.rpartition(".")[2], _modules_in(folders), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    places = "".join(f"\n  {folder or os.getcwd()}" for folder in folders)
    return f"there is no module {missing!r}{hint}\nlooked for in:{places}"


def _modules_in(folders: Iterable[str]) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(folders)]


# --- names in them ---


def _attribute(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    passed = place
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            near = difflib.get_close_matches(part, dir(value), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            offer = _offer(value) if value is module and not near else ""
            raise CommandError(NOT_LOADED, f"{passed} has no {part!r}{hint}{offer}") from None
        passed = f"{passed}{':' if passed == place else '.'}{part}"
    return value


def _offer(module: ModuleType) -> str:
    names = nodes_in(module)
    return f"; it has the nodes {', '.join(names)}" if names else "; it has no nodes at its top level"
