"""The feed: what browsers are told, at their own pace, and what they cannot make the service hold."""

from __future__ import annotations

import asyncio
import gc
import json
import threading

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph.observe import dashboard, observing
from asyncgraph.observe._dashboard import feed as feeds
from asyncgraph.observe._dashboard.state import State
from asyncgraph.observe._dashboard.timeline import MOST_BARS
from tests.observe.dashboard.asgi import PATIENCE, Listener, ask, until

SECRET = "tell-nobody"


@delayed
async def reveal(value):
    """Fail with what it was given in the message."""
    raise LookupError(value)


@delayed
async def step(value):
    """Give the loop a turn."""
    await asyncio.sleep(0)
    return value


@pytest.fixture
async def runtime():
    """Return an open runtime."""
    runs = State(keep=0, details="watched")
    async with Runtime(observers=[runs]) as runtime:
        yield runtime
        for known in runs.runs():  # those that a test that has failed has left
            known.run.cancel()


@pytest.fixture
def app(runtime):
    """Return its dashboard, which looks only when a test says so."""
    return dashboard(runtime, interval=1e6, details="always")


async def test_the_first_message_says_everything(app, runtime):
    """What runs there are, how far they are, slots and workers; and that it is all."""
    await runtime.compute(step(1), step(2))
    async with Listener(app) as listener:
        assert await listener.next() == "retry: 1000\n\n"
        message = await listener.hear()
    (run,) = [value for name, value in message["parts"].items() if name.startswith("run/")]
    overview = message["parts"]["overview"]
    assert message["full"]
    assert overview["runs"] == [run["id"]]
    assert overview["counts"] == {"running": 0, "finished": 1, "failed": 0, "cancelled": 0}
    assert [(executor, used) for executor, used, *_ in overview["usage"][0]] == [
        ("loop", 0),
        ("thread", 0),
        ("process", 0),
    ]
    assert (run["state"], run["functions"]) == ("finished", [["step", 2, 0, 2, 0, 0, 0]])
    assert run["statistics"]["finished"] == 2


@pytest.mark.parametrize("details", ["watched", "always"])
async def test_runs_that_have_begun_before_are_shown(details):
    """Also when nobody observes them: how far they are, and how they end; without a timeline."""
    gate = asyncio.Event()
    async with Runtime() as runtime:
        run = runtime.start(delayed(gate.wait, name="wait")())
        app = dashboard(runtime, interval=1e6, details=details)
        shown = app._feed._state.runs()
        assert [(known.run.name[:5], known.state, known.timeline) for known in shown] == [
            ("wait-", "running", None)
        ]
        assert shown[0].row(show_values=False)["statistics"]["nodes"] == 1
        gate.set()
        assert await run
    assert (shown[0].state, shown[0].row(show_values=False)["statistics"]["finished"]) == ("finished", 1)


async def test_nodes_that_are_held_back_are_told_apart(app, runtime):
    """From those that wait for a slot: what only produces waits for those that it feeds."""
    gate = threading.Event()
    use = delayed(lambda number: gate.wait(), name="use")
    run = runtime.start([use(step(number)) for number in range(2_000)])
    state = app._feed._state
    try:
        await until(lambda: state.overview()["usage"][0][0][4] > 0)
        (_, used, capacity, _, held_back), *_ = state.overview()["usage"][0]
        assert used < capacity
        assert 0 < held_back <= run.statistics().ready
    finally:
        gate.set()
        await run
    assert [each[4] for each in state.overview()["usage"][0]] == [0, 0, 0]


async def test_then_only_what_has_changed_is_told(app, runtime):
    """A run that is over is not told of again when another one comes."""
    await runtime.compute(step(1))
    async with Listener(app) as listener:
        await listener.hear()
        first = app.observer.runs()[0].id
        await runtime.compute(step(2))
        app._feed.refresh()
        message = await listener.hear()
    second = app.observer.runs()[0].id
    assert not message["full"]
    assert set(message["parts"]) == {"overview", f"run/{second}"}
    assert message["parts"]["overview"]["runs"] == [second, first]


async def test_nothing_is_told_while_nothing_changes(app, runtime, monkeypatch):
    """There is no new version, and after a while a comment says that the connection still stands."""
    await runtime.compute(step(1))
    async with Listener(app) as listener:
        await listener.hear()
        version = app._feed.version
        app._feed.refresh()
        assert app._feed.version == version
        monkeypatch.setattr(feeds, "HEARTBEAT", 0.01)
        listener.leave()
    async with Listener(app) as listener:
        await listener.hear()
        assert await listener.next() == ": nothing new\n\n"


async def test_a_slow_browser_skips_versions(app, runtime):
    """While it takes one message nothing is kept for it: the next one holds all that has changed since."""
    async with Listener(app) as slow, Listener(app) as quick:
        await slow.hear()
        await quick.hear()
        for number in range(5):
            await runtime.compute(step(number))
            app._feed.refresh()
            await quick.hear()
        # One message was on its way already when the other versions came.
        runs = {name for _ in range(2) for name in (await slow.hear())["parts"] if name.startswith("run/")}
        assert quick.taken == 7
        assert slow.taken == 4
    assert len(runs) == 5


async def test_a_stuck_browser_holds_one_message(app, runtime):
    """One that never reads does not make the dashboard keep what it was not told, nor the loop wait."""
    async with Listener(app) as stuck, Listener(app) as listener:
        await listener.hear()
        for number in range(50):
            await runtime.compute(step(number))
            app._feed.refresh()
            await listener.hear()
        assert stuck.taken == 0
        assert len(app._feed._messages) <= 2  # those of the present version
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, bytes) and b"data:" in each]
        assert len(kept) <= 2


async def test_a_stuck_browser_is_let_go_of(app, monkeypatch):
    """After some seconds in which it has taken nothing."""
    from asyncgraph.observe._dashboard import app as apps

    monkeypatch.setattr(apps, "_STUCK", 0.01)
    async with Listener(app) as stuck:
        await asyncio.wait_for(asyncio.shield(stuck.aio_task), PATIENCE)
    assert app._feed.clients == 0


async def test_a_browser_that_goes_is_noticed(app):
    """Its stream ends at once, also if it was stuck; with the last one the looking ends."""
    async with Listener(app) as one, Listener(app) as stuck:
        await one.hear()
        assert app._feed.clients == 2
        assert app.observer.is_watched
        stuck.leave()
        await asyncio.wait([stuck.aio_task], timeout=PATIENCE)
        assert app._feed.clients == 1
        assert app.observer.is_watched
    assert app._feed.clients == 0
    assert not app.observer.is_watched
    assert app._feed._ticker is None


async def test_a_server_that_stops_the_request(app):
    """If the call of the app is cancelled, nothing of the stream is left."""
    async with Listener(app) as listener:
        await listener.hear()
        listener.aio_task.cancel()
    assert listener.aio_task.cancelled()
    assert app._feed.clients == 0


async def test_browsers_share_the_work(app, runtime, monkeypatch):
    """However many there are, a version is taken stock of once, and its message composed once."""
    composed = []
    original = app._feed._composed
    monkeypatch.setattr(app._feed, "_composed", lambda *args: composed.append(args) or original(*args))
    listeners = [Listener(app) for _ in range(10)]
    async with listeners[0] as first:
        await first.hear()
        for listener in listeners[1:]:
            await listener.__aenter__()
            await listener.hear()
        composed.clear()
        await runtime.compute(step(1))
        app._feed.refresh()
        for listener in listeners:
            await listener.hear()
        assert len(composed) == 1
        for listener in listeners[1:]:
            await listener.__aexit__()


async def test_one_that_comes_again_goes_on(app, runtime):
    """With the id of what it has seen last it is told what has changed since, and only that."""
    await runtime.compute(step(1))
    async with Listener(app) as stays, Listener(app) as listener:
        await stays.hear()
        await listener.hear()
        await runtime.compute(step(2))
        app._feed.refresh()
        async with Listener(app, headers={"last-event-id": listener.id}) as again:
            message = await again.hear()
    assert not message["full"]
    assert sum(name.startswith("run/") for name in message["parts"]) == 1


@pytest.mark.parametrize(
    "last", ["other-1", "{name}-99", "{name}-x", "{name}--1", "{name}-²", "nonsense", "-"]
)
async def test_one_that_comes_from_elsewhere_is_told_everything(app, runtime, last):
    """The id of another process, of a version that never was, or no id at all."""
    await runtime.compute(step(1))
    headers = {"last-event-id": last.format(name=app._feed._name).encode("utf-8").decode("latin-1")}
    async with Listener(app, headers=headers) as listener:
        assert (await listener.hear())["full"]


async def test_closing_ends_the_streams(app):
    """Those that are there, and at once those that come later."""
    async with Listener(app) as listener:
        await listener.hear()
        app.close()
        assert await listener.next() == ""
    async with Listener(app) as listener:
        assert await listener.next() == "retry: 1000\n\n"
        assert await listener.next() == ""


async def test_a_stream_does_not_last_for_ever(app, monkeypatch):
    """After some minutes it ends, and the browser comes again."""
    monkeypatch.setattr(feeds, "LONGEST", 0.0)
    async with Listener(app) as listener:
        assert await listener.next() == "retry: 1000\n\n"
        assert await listener.next() == ""


async def test_a_fault_ends_the_streams(app, runtime, caplog, monkeypatch):
    """If stock cannot be taken, that is logged, and browsers are not left with what is no longer so."""
    quick = dashboard(runtime, interval=0.001)
    async with Listener(quick) as listener:
        await listener.hear()
        monkeypatch.setattr(quick.observer, "overview", lambda: 1 / 0)
        assert await listener.next() == ""
    assert "please report this" in caplog.text


# -- values


@pytest.mark.parametrize("show_values", [False, True])
async def test_values_are_shown_only_if_asked_for(runtime, show_values):
    """No argument, no result, and what exceptions say only where that is allowed."""
    app = dashboard(runtime, interval=1e6, details="always", show_values=show_values)
    node = step([step(SECRET), reveal({"token": SECRET})])
    with pytest.raises(LookupError):
        await runtime.compute(node)
    (run,) = app.observer.runs()
    async with Listener(app, f"/events?run={run.id}") as listener:
        known = await listener.hear()
        await drawn(app, run)
        known["parts"] |= (await listener.hear())["parts"]
        svg = await ask(app, f"/runs/{run.id}/picture.svg")
    (failure,) = known["parts"][f"run/{run.id}"]["failures"]
    assert failure["type"] == "LookupError"
    assert failure["key"].startswith("reveal-")
    assert "test_feed.py, line" in failure["site"]
    assert (SECRET in json.dumps(known) + svg.text) is show_values
    assert (failure["message"] is None) is not show_values


async def test_values_of_runs_without_details(runtime):
    """The same where nothing is kept of nodes: of a failed run there is the class of its exception."""
    app = dashboard(runtime, interval=1e6)
    with pytest.raises(LookupError):
        await runtime.compute(reveal(SECRET))
    async with Listener(app) as listener:
        message = await listener.hear()
    assert SECRET not in json.dumps(message)
    (run,) = [value for name, value in message["parts"].items() if name.startswith("run/")]
    assert [failure["type"] for failure in run["failures"]] == ["LookupError"]


# -- a run that is looked at


async def test_calls_come_once(app, runtime):
    """Those that are over come in portions, each with the version in which they came."""
    gate = asyncio.Event()

    @delayed
    async def wait(value):
        await gate.wait()
        return value

    run = runtime.start([wait(step(1)), step(2)])
    (known,) = app.observer.runs()
    async with Listener(app, f"/events?run={known.id}") as listener:
        await until(lambda: known.timeline.count == 2)
        app._feed.refresh()
        first = await listener.until(lambda known: len(known["bars"]) == 2)
        assert [call[3] for call in first["parts"]["open"]] == ["wait"]
        gate.set()
        await run
        app._feed.refresh()
        second = await listener.until(lambda known: known["bars"])
    assert {bar[4] for bar in first["bars"]} == {"step"}
    ((lane, began, ended, key, name, outcome),) = second["bars"]
    assert (first | second)["parts"]["open"] == []
    assert key.startswith("wait-")
    assert (name, outcome) == ("wait", "finished")
    assert 0 <= began <= ended
    assert (first["parts"] | second["parts"])["lanes"][lane].startswith("loop ")


async def test_calls_are_bounded(app, runtime):
    """Of a long run the last calls are kept, for those that come later and in all that was told."""
    await runtime.compute([step(number) for number in range(2 * MOST_BARS)])
    (run,) = app.observer.runs()
    async with Listener(app, f"/events?run={run.id}") as listener:
        message = await listener.hear()
        assert len(message["bars"]) == MOST_BARS
        assert len(app._feed._selected[run.id]._portions) == 1
    assert app._feed._selected == {}


async def test_an_unknown_run_is_no_mistake(app):
    """A browser that asks for one is told of the others."""
    for query in ("run=999999999", "run=x", "run=", "else=1"):
        async with Listener(app, f"/events?{query}") as listener:
            assert "overview" in (await listener.hear())["parts"]


async def test_without_a_runtime_it_hears_of_what_it_is_given_to():
    """Its observer may be given to single runs, or be around them."""
    app = dashboard()
    await step(1).compute(observers=[app.observer])
    with observing(app.observer):
        await step(2).compute()
    await step(3).compute()
    assert len(app.observer.runs()) == 2


async def test_detached_it_hears_of_nothing_more(app, runtime):
    """What it knows stays."""
    await runtime.compute(step(1))
    app.detach()
    await runtime.compute(step(2))
    assert len(app.observer.runs()) == 1


async def test_the_picture_grows_with_the_run(app, runtime):
    """Where nodes return nodes, it is drawn again with those that have come."""
    gate = asyncio.Event()

    @delayed
    async def wait():
        await gate.wait()

    @delayed
    async def grow():
        return delayed(list)([wait(), wait()])

    run = runtime.start(grow())
    (known,) = app.observer.runs()
    async with Listener(app, f"/events?run={known.id}") as listener:
        await until(lambda: known.recorded.roots or len(known.recorded) > 1)
        picture = await drawn(app, known)
        shapes = len(picture.paint())
        gate.set()
        await run
        app._feed.refresh()
        await listener.hear()
        picture._not_before = 0.0
        await drawn(app, known, 1 if shapes == 4 else 2)
        assert len(picture.paint()) == len(known.recorded) == 4
        assert [sum(counts) for counts in picture.paint()] == [counts[3] for counts in picture.paint()]


async def test_a_large_graph_is_looked_at_bit_by_bit(app, runtime):
    """To take stock never looks at all its nodes at once, and in the end there is a picture."""
    gate = asyncio.Event()

    @delayed
    async def wait():
        await gate.wait()

    first = wait()
    run = runtime.start([step(first) for _ in range(2500)])
    (known,) = app.observer.runs()
    async with Listener(app, f"/events?run={known.id}"):
        await until(lambda: known.recorded is not None and len(known.recorded) == 2501)
        await until(known.timeline.open_calls)
        unknown = known.recorded.infos.kind_of.count(-1)
        app._feed.refresh()
        assert 0 < unknown - known.recorded.infos.kind_of.count(-1) <= 1000
        picture = await drawn(app, known)
        assert sum(map(sum, picture.paint())) == 2501
        gate.set()
        await run


async def test_a_graph_that_is_too_large_is_not_drawn(app, runtime, monkeypatch):
    """The page says so."""
    from asyncgraph.observe._dashboard import picture as pictures

    monkeypatch.setattr(pictures, "MOST_DRAWN", 10)
    await runtime.compute([step(number) for number in range(11)])
    (known,) = app.observer.runs()
    async with Listener(app, f"/events?run={known.id}") as listener:
        message = await listener.hear()
        assert (await ask(app, f"/runs/{known.id}/picture.svg")).status == 404
    assert message["parts"]["picture"]["problem"] == "11 nodes are too many to be drawn while they run"


async def drawn(app, known, times=1):
    """Take stock until the picture of a run that is looked at has been drawn so many times; return it."""
    picture = app._feed._selected[known.id].picture

    def is_drawn():
        app._feed.refresh()
        return picture.drawn >= times

    await until(is_drawn)
    return picture
