"""Context variables in nodes: what they see, in each executor, and what others see of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import pytest
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from asyncgraph import Retry, Runtime, compute, delayed, start
from asyncgraph.errors import SerializationError

EXECUTORS = ["loop", "thread", "process"]
LANES = ["coroutine", *EXECUTORS]

user: ContextVar[Any] = ContextVar("user")
tenant: ContextVar[Any] = ContextVar("tenant", default="nobody")
bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))
hidden: dict[str, ContextVar[Any]] = {"colour": ContextVar("colour", default="none")}


class Unpicklable:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def look() -> tuple[Any, Any]:
    """What a call sees."""
    return user.get("nobody"), tenant.get()


def get_colour() -> Any:
    """What a call sees of it."""
    return hidden["colour"].get()


def look_and_set(value: Any) -> Any:
    """What a call sees, before it sets something else."""
    seen = user.get("nobody")
    user.set(value)
    return seen


def look_and_fail(value: Any) -> Any:
    """It sets a variable and fails."""
    user.set(value)
    raise ValueError("failed")


def bind_more(key: str) -> dict[str, Any]:
    """As a function does that logs: it binds more, and says what its lines would show."""
    bind_contextvars(step=key)
    return get_contextvars()


def bind(**values: Any) -> None:
    """Bind more to what logs show, as structlog does: what others have is another dictionary."""
    bound.set({**bound.get(), **values})


def unbind(*names: str) -> None:
    """The other way round."""
    bound.set({name: value for name, value in bound.get().items() if name not in names})


def show() -> dict[str, Any]:
    """What logs show."""
    return dict(bound.get())


def rebind(step: str, *_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What logs show before and after something else is bound."""
    before = show()
    unbind("user")
    bind(step=step)
    return before, show()


async def rebind_later(step: str, *_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same, while others do so, too."""
    before, _ = rebind(step)
    for _ in range(3):
        await asyncio.sleep(0)
    return before, show()


def bind_and_fail(path: str) -> dict[str, Any]:
    """Succeed when called again; what is bound until then is of no use."""
    seen = show()
    bind(attempt="the first")
    with open(path, "a") as stream:
        if not stream.tell():
            stream.write("x")
            raise ConnectionError
    return seen


async def bind_and_fail_later(path: str) -> dict[str, Any]:
    """The same as a coroutine."""
    return bind_and_fail(path)


def on(lane: str, name: str, **options: Any) -> Any:
    """One of the functions above in a lane; coroutine functions end in `_later`."""
    if lane == "coroutine":
        return delayed(globals()[f"{name}_later"], **options)
    return delayed(globals()[name], executor=lane, **options)


def lasting(function: Any, seconds: float = 1e-5) -> Any:
    """The function as a process node that is known to be short, so that many go to a worker together."""
    made = delayed(executor="process")(function)
    made.function.durations.add(1000 * seconds, 1000)
    return made


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_what_structlog_has_bound_is_seen_and_what_a_node_binds_is_its_own(executor: str) -> None:
    """Each node logs what its caller has bound and what it has bound itself, and nothing of its siblings."""
    clear_contextvars()
    tokens = bind_contextvars(request_id="none")
    async with Runtime(processes=1, threads=1, context=[token.var for token in tokens.values()]) as runtime:
        bind_contextvars(request_id="r-1")
        node = delayed(bind_more, executor=executor)
        first = node("a")
        second = delayed(lambda _, key: bind_more(key), executor=executor)(first, "b")
        seen = await runtime.compute([first, second, delayed(get_contextvars, executor=executor)()])
    assert seen[:2] == [{"request_id": "r-1", "step": "a"}, {"request_id": "r-1", "step": "b"}]
    assert seen[2] == {"request_id": "r-1"}
    assert get_contextvars() == {"request_id": "r-1"}


@pytest.mark.parametrize("lane", LANES)
async def test_what_is_bound_goes_down_and_neither_sideways_nor_up(lane: str) -> None:
    """Each node sees what its caller has bound by then, and nothing that nodes beside and before it have."""
    function = on(lane, "rebind")
    async with Runtime(processes=1, context=[bound]):
        bind(request="r-1", user="anna", secret="x")
        unbind("secret")
        beside = [function(step) for step in "abc"]
        run = start([*beside, function("d", *beside)])
        bind(request="r-2")
        unbind("user")
        seen = await run
        later = await function("e")
    before = {"request": "r-1", "user": "anna"}
    assert seen == [(before, {"request": "r-1", "step": step}) for step in "abcd"]
    assert later == ({"request": "r-2"}, {"request": "r-2", "step": "e"})
    assert show() == {"request": "r-2"}


@pytest.mark.parametrize("lane", LANES)
async def test_a_run_inside_a_node_sees_what_the_node_has_bound(lane: str) -> None:
    """Down to worker processes, and the node sees nothing of what is bound there."""

    @delayed
    async def outer(name: str) -> Any:
        bind(outer=name)
        seen = await on(lane, "rebind")("inner")
        return seen, show()

    async with Runtime(processes=1, threads=1, concurrency=1, context=[bound]):
        bind(user="anna")
        results = await compute([outer(name) for name in "ab"])
    for name, ((before, after), own) in zip("ab", results, strict=True):
        assert before == own == {"user": "anna", "outer": name}
        assert after == {"outer": name, "step": "inner"}


@pytest.mark.parametrize("lane", LANES)
async def test_an_attempt_sees_nothing_of_those_before(lane: str, tmp_path: Any) -> None:
    """A call that is made again finds the context that the first one found."""
    async with Runtime(processes=1, context=[bound]):
        bind(user="anna")
        node = on(lane, "bind_and_fail", retries=Retry(2, backoff=0))(str(tmp_path / "calls"))
        assert await node == {"user": "anna"}


async def test_each_run_has_its_own_values() -> None:
    """Runs that share a worker see each what was set when it was computed, variables without a value none."""
    function = lasting(look)
    async with Runtime(processes=1, context=(user, tenant)) as runtime:
        before = await runtime.compute(function())
        user.set("anna")
        first = runtime.start([function() for _ in range(20)])
        user.set("otto")
        tenant.set("acme")
        second = runtime.start([function() for _ in range(20)])
        assert before == ("nobody", "nobody")
        assert await first == [("anna", "nobody")] * 20
        assert await second == [("otto", "acme")] * 20


async def test_workers_are_sent_the_values_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are pickled once a run, and go once to each worker, however many calls see them."""
    from asyncgraph.executors.process import handle

    pickled, sent = [], []
    plain = handle.frame_of

    class Value:
        def __reduce__(self) -> Any:
            pickled.append(self)
            return str, ("the value",)

    def watched(head: Any, *parts: Any) -> Any:
        sent.extend(data for _, data in head[2] if data is not None and b"the value" in data)
        return plain(head, *parts)

    monkeypatch.setattr(handle, "frame_of", watched)
    function = delayed(look, executor="process")
    async with Runtime(processes=1, context=[user]) as runtime:
        user.set(Value())
        assert await runtime.compute([function() for _ in range(30)]) == [("the value", "nobody")] * 30
    assert len(pickled) == 1
    assert len(sent) == 1


@pytest.mark.parametrize("context", [[], [user]], ids=["none", "named"])
@pytest.mark.parametrize("function", [look_and_set, look_and_fail], ids=["returns", "raises"])
async def test_what_a_call_sets_the_next_one_in_its_worker_does_not_see(context: Any, function: Any) -> None:
    """Short calls that go to one worker together, alone and in chains, see nothing of each other."""
    async with Runtime(processes=1, context=context) as runtime:
        setting, looking = lasting(function), lasting(look_and_set)
        nodes = [each for number in range(20) for each in (setting(number), looking(number))]
        chain = looking(looking(looking(0)))
        seen = await runtime.compute([nodes, chain], return_exceptions=True)
    assert {each for each in seen[0] if not isinstance(each, ValueError)} == {"nobody"}
    assert seen[1] == "nobody"


async def test_what_a_module_sets_when_it_is_imported_stays_for_all_calls(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that sets a variable at its top level has set it for every call of its functions."""
    (tmp_path / "setting_module.py").write_text(
        "from contextvars import ContextVar\n"
        "level = ContextVar('level', default='unset')\n"
        "level.set('info')\n"
        "def look_and_set(value):\n"
        "    seen = level.get()\n"
        "    level.set(value)\n"
        "    return seen\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import setting_module  # type: ignore[import-not-found, unused-ignore]

    function = lasting(setting_module.look_and_set)
    try:
        async with Runtime(processes=1) as runtime:
            assert await runtime.compute([function(number) for number in range(9)]) == ["info"] * 9
    finally:
        del sys.modules["setting_module"]


async def test_a_value_that_does_not_pickle_fails_the_calls_and_names_the_variable() -> None:
    """Process nodes fail with an error that names the variable; others, and later runs, are not touched."""
    async with Runtime(processes=1, context=[user]) as runtime:
        user.set({"name": "anna", "lock": threading.Lock()})
        nodes = [delayed(look, executor=executor)() for executor in ("process", "process", "thread")]
        first, second, in_thread = await runtime.compute(nodes, return_exceptions=True)
        user.set("anna")
        assert await runtime.compute(delayed(look, executor="process")()) == ("anna", "nobody")
    assert in_thread[1] == "nobody"
    for error in (first, second):
        assert isinstance(error, SerializationError)
        assert (error.stage, error.location) == (
            "arg-pickle",
            "the value of the context variable 'user'['lock']",
        )
        assert "the value of the context variable 'user'['lock'], of type lock, does not pickle" in str(error)
    assert first.key != second.key


async def test_a_class_that_workers_cannot_import_goes_by_value(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value whose class workers cannot import arrives, and so does a variable of such a module."""
    module: Any = type(sys)("only_here")
    exec(
        "from contextvars import ContextVar\n"
        "class Person:\n    name = 'anna'\n"
        "inner = ContextVar('inner', default=5)\n",
        vars(module),
    )
    monkeypatch.setitem(sys.modules, "only_here", module)
    async with Runtime(processes=1, context=[user, module.inner]) as runtime:
        user.set(module.Person())
        module.inner.set(6)
        reader = delayed(lambda: (user.get().name, user.name), executor="process")
        assert await runtime.compute(reader()) == ("anna", "user")
        assert await runtime.compute(delayed(module.inner.get, executor="process")()) == 6


async def test_a_variable_in_a_dictionary_of_a_module_is_found() -> None:
    """As structlog keeps its variables: it is found by its key, and made in a worker that lacks it."""
    async with Runtime(processes=1, context=[hidden["colour"]]) as runtime:
        hidden["colour"].set("red")
        assert await runtime.compute(delayed(get_colour, executor="process")()) == "red"


async def test_a_function_that_goes_by_value_finds_its_variables() -> None:
    """A closure that uses a variable works in a worker, and sees its default; its next call does, too."""
    local: ContextVar[Any] = ContextVar("local", default="default")
    bare: ContextVar[Any] = ContextVar("bare")

    def look_at_both() -> Any:
        seen = local.get(), bare.get("missing")
        local.set("set")
        bare.set("set")
        return seen

    both = delayed(look_at_both, executor="process")
    assert await compute([both(), both()]) == [("default", "missing")] * 2


async def test_variables_travel_as_values() -> None:
    """A variable among arguments and results is the same variable here and there."""
    local: ContextVar[Any] = ContextVar("local", default=1)
    same = delayed(lambda *variables: (*variables, variables[0] is user), executor="process")
    assert await same(user, local) == (user, local, True)


SCRIPT = """
import asyncio
from contextvars import ContextVar
from asyncgraph import Runtime, delayed

request = ContextVar("request", default="none")
plain = ContextVar("plain", default="default")

@delayed(executor="process")
def look():
    seen = request.get(), plain.get()
    request.set("spoilt")
    return seen

@delayed(executor="process")
def look_elsewhere():
    return request.get()

async def main():
    async with Runtime(processes=1, context=[request]) as runtime:
        request.set("r-1")
        plain.set("not sent")
        print(await runtime.compute([look(), look(), look_elsewhere()]))

asyncio.run(main())
"""


def test_variables_of_a_script(tmp_path: Any) -> None:
    """Variables and functions of `__main__`, which workers do not import, find each other there."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("[('r-1', 'default'), ('r-1', 'default'), 'r-1']\n", "")


def test_a_variable_without_a_place_is_refused() -> None:
    """A variable that no worker could find is an error at once, which says where it should be."""
    local: ContextVar[Any] = ContextVar("local")
    with pytest.raises(ValueError) as caught:
        Runtime(context=[user, local])
    assert str(caught.value) == (
        "no worker process can find the context variable 'local' of context=: no module has a name for it. "
        "Make it at the top level of a module: NAME = ContextVar('local')"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (user, "context= takes a list of ContextVar objects, not <ContextVar name='user'"),
        ({"user": user}, "context= takes a list of ContextVar objects, not {"),
        ("user", "context= takes a list of ContextVar objects, not 'user'"),
        (["user"], "context= takes a list of ContextVar objects, and 'user' is none"),
        (None, "context= takes a list of ContextVar objects, not None"),
    ],
)
def test_anything_else_is_refused(given: Any, message: str) -> None:
    """What is no list of context variables is a TypeError that says what would be one."""
    with pytest.raises(TypeError) as caught:
        Runtime(context=given)
    assert str(caught.value).startswith(message)
