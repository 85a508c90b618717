"""Context variables as references, on either side."""

from __future__ import annotations

import sys
import types
from contextvars import ContextVar

import pytest

from asyncgraph.executors.process import variables
from asyncgraph.executors.process.serialization import dumps, pickle
from asyncgraph.executors.process.variables import place_of, reference_to, variable_at

here = ContextVar("here")
also_here = here
kept = {"inside": ContextVar("inside", default=3), 5: ContextVar("five")}


@pytest.fixture
def elsewhere(monkeypatch):
    """As in another process, which has met no variable yet."""

    def forget():
        monkeypatch.setattr(variables, "_known", {})
        monkeypatch.setattr(variables, "_numbers", {})
        monkeypatch.setattr(variables, "_places", {})

    return forget


def test_a_variable_is_found_by_its_name(elsewhere):
    """A reference to a variable of a module finds it in another process, by the first of its names."""
    assert place_of(here) == (__name__, "here", None)
    reference = reference_to(here)
    elsewhere()
    assert variable_at(*reference) is here


def test_a_variable_is_found_in_a_dictionary(elsewhere):
    """One in a dictionary of a module is found by its key, if that is a string."""
    assert place_of(kept["inside"]) == (__name__, "kept", "inside")
    assert place_of(kept[5]) is None
    reference = reference_to(kept["inside"])
    elsewhere()
    assert variable_at(*reference) is kept["inside"]


def test_a_variable_that_a_dictionary_lacks_is_made_there(elsewhere, monkeypatch):
    """A dictionary that does not have the variable yet gets it, with its default."""
    reference = reference_to(kept["inside"])
    elsewhere()
    monkeypatch.delitem(kept, "inside")
    made = variable_at(*reference)
    assert kept["inside"] is made
    assert (made.name, made.get()) == ("inside", 3)


def test_importable_modules_come_before_main(monkeypatch):
    """A variable that a script has imported is known by the module that it was imported from."""
    variable = ContextVar("shared")
    monkeypatch.setattr(sys.modules["__main__"], "shared", variable, raising=False)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])  # `multiprocessing` does that
    assert place_of(variable) == ("__main__", "shared", None)
    assert reference_to(variable)[0] is None
    module = types.ModuleType("with_shared")
    module.shared = variable
    monkeypatch.setitem(sys.modules, "with_shared", module)
    variables._places.clear()
    assert place_of(variable) == ("with_shared", "shared", None)


def test_a_name_that_means_another_variable_now_is_no_place(monkeypatch):
    """When a module has another variable under the name, the old one is looked for anew."""
    monkeypatch.setitem(globals(), "moved", ContextVar("moved"))
    first = moved  # noqa: F821
    assert place_of(first) == (__name__, "moved", None)
    monkeypatch.setitem(globals(), "moved", ContextVar("moved"))
    assert reference_to(first)[0] is None


def test_a_variable_without_a_place_is_made_once(elsewhere):
    """Wherever it comes from, the same variable arrives, with its name and default, and goes back."""
    local, bare = ContextVar("local", default=(1,)), ContextVar("bare")
    data = dumps((local, bare, local))
    elsewhere()
    first, second, third = pickle.loads(data)
    assert first is third is not local
    assert (first.name, first.get()) == ("local", (1,))
    with pytest.raises(LookupError):
        second.get()
    assert pickle.loads(data)[0] is first
    back = dumps(first)
    variables._known[reference_to(first)[1:3]] = local  # the process that it came from
    assert pickle.loads(back) is local


def test_two_variables_of_one_name_stay_two(elsewhere):
    """A variable that a notebook makes anew is another one elsewhere, too."""
    one, two = ContextVar("same"), ContextVar("same")
    data = dumps((one, two))
    elsewhere()
    first, second = pickle.loads(data)
    assert first is not second


def test_a_module_without_the_variable_counts_as_missing(elsewhere, monkeypatch):
    """What is not where it should be is reported as a missing module, on which it is sent by value."""
    reference = reference_to(here)
    elsewhere()
    monkeypatch.delitem(globals(), "here")
    with pytest.raises(ModuleNotFoundError) as caught:
        variable_at(*reference)
    assert caught.value.name == __name__


def test_a_module_that_goes_by_value_is_no_place():
    """A variable of such a module goes with its default."""
    inside = kept["inside"]
    assert reference_to(inside, {__name__})[0] is None
    assert reference_to(inside, {__name__})[4] == (3,)
