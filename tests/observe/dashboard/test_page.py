"""The page in a browser, during real runs on the loop of the test, served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph._graph import node as nodes
from asyncgraph.observe import dashboard, serving
from asyncgraph.observe._dashboard.timeline import MOST_BARS
from tests.observe.dashboard.asgi import until

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

NASTY = "<img src=x onerror='window.hasRun = true'>"

# What a run shows: how many shapes are in this state, and whether so many are.
SHAPES = "document.querySelectorAll('#picture [data-shape][data-state=\"{}\"]').length === {}"
TEXT = "document.querySelector({!r})?.textContent"


class Page:
    """The page of a dashboard, in the browser; what it is asked is asked in a thread."""

    def __init__(self, browser, app, runtime):
        self.browser = browser
        self.app = app
        self.runtime = runtime

    async def until(self, condition, *args):
        """Wait until a JavaScript expression is true; return its value."""
        return await asyncio.to_thread(self.browser.until, condition, *args)

    async def run(self, script, *args):
        """Run the body of a JavaScript function; return what it returns."""
        return await asyncio.to_thread(self.browser.run, script, *args)

    async def text(self, selector):
        """Return the text of an element."""
        return await self.run("return " + TEXT.format(selector))

    async def until_text(self, selector, text):
        """Wait until an element has this text."""
        await self.until(f"{TEXT.format(selector)} === arguments[0]", text)

    async def until_shapes(self, **states):
        """Wait until the picture has so many shapes in each of these states."""
        await self.until(" && ".join(SHAPES.format(state, count) for state, count in states.items()))


@pytest.fixture(autouse=True)
def fresh_keys(monkeypatch):
    """Number nodes from 1 on, whatever other tests have called theirs."""
    monkeypatch.setattr(nodes, "_counters", {})


@pytest.fixture
async def opened(browser):
    """Return what opens the page of a dashboard with these options, on a runtime of its own."""
    apps = []
    async with contextlib.AsyncExitStack() as stack:

        async def open_page(*, path="", **options):
            runtime = await stack.enter_async_context(Runtime(concurrency=8, threads=2, processes=1))
            app = dashboard(runtime, interval=0.02, **options)
            apps.append(app)
            url = await stack.enter_async_context(serving(app))
            await asyncio.to_thread(browser.open, url + path)
            await asyncio.to_thread(browser.until, "document.querySelector('#link').dataset.link === 'open'")
            return Page(browser, app, runtime)

        yield open_page
        # A test that has failed may have left a run that waits.
        for known in [known for app in apps for known in app.observer.runs()]:
            known.run.cancel()
        # The stream ends here, and not when the server does: the page would complain to the console.
        await asyncio.to_thread(browser.open, "about:blank")


class Gates:
    """A chain of nodes, each of which waits until it is let through."""

    def __init__(self):
        self.gates = {}

    def node(self, name, *needed, fails=False):
        """Return a node of this name, which needs these."""
        gate = self.gates[name] = asyncio.Event()

        async def wait(*_):
            await gate.wait()
            if fails:
                raise ValueError(NASTY)
            return name

        return delayed(wait, name=name)(*needed)

    def open(self, name):
        """Let it through."""
        self.gates[name].set()


async def test_a_run_is_shown_as_it_goes_on(opened):
    """It appears, its picture changes colors as nodes finish, and its progress moves to the end."""
    page = await opened()
    assert await page.text("#nothing") == "Runs appear here as they begin."
    gates = Gates()
    sources = [gates.node("fetch"), gates.node("read")]
    run = page.runtime.start(gates.node("shown", gates.node("parse", *sources)))
    await page.until_text("#runs .name", "shown-1")
    await page.until_text("#state", "running")
    await page.until_shapes(running=2, waiting=2, finished=0)
    assert await page.text("#counts") == "1 running0 finished0 failed0 cancelled"
    gates.open("fetch")
    await page.until_shapes(running=1, finished=1, waiting=2)
    gates.open("read")
    await page.until_shapes(running=1, finished=2, waiting=1)
    row = "#functions tr:nth-child(3)"
    await page.until_text(f"{row} td:nth-child(4)", "1")
    assert await page.text(f"{row} td:nth-child(1)") == "parse"
    gates.open("parse")
    gates.open("shown")
    await run
    await page.until_shapes(finished=4, running=0, waiting=0)
    await page.until_text("#state", "finished")
    await page.until_text("#counts", "0 running1 finished0 failed0 cancelled")
    assert await page.run("return document.querySelector('#runs .finished').style.width") == "100%"


async def test_the_newest_run_is_followed(opened):
    """One that was chosen stays, also when the page is loaded again."""
    page = await opened()
    await page.runtime.compute(delayed(abs, name="first")(-1))
    await page.until_text("#name", "first-1")
    await page.until_shapes(finished=1)
    await page.runtime.compute(delayed(abs, name="second")(-1))
    await page.until_text("#name", "second-1")
    await page.run("document.querySelectorAll('#runs button')[1].click()")
    await page.until_text("#name", "first-1")
    await page.runtime.compute(delayed(abs, name="third")(-1))
    await page.until_text("#runs .name", "third-1")
    assert await page.text("#name") == "first-1"
    await asyncio.to_thread(page.browser.driver.refresh)
    await page.until_text("#name", "first-1")
    await page.run("document.querySelector('#follow').click()")
    await page.until_text("#name", "third-1")


async def test_cancelling(opened):
    """Where that is allowed there is a button, which asks first, and then the run is cancelled."""
    page = await opened(allow_cancel=True)
    run = page.runtime.start(Gates().node("total"))
    await page.until("!document.querySelector('#cancel').hidden")
    await page.run("window.confirm = (text) => { window.asked = text; return window.allows }")
    await page.run("document.querySelector('#cancel').click()")
    assert await page.run("return window.asked") == f"Cancel {await page.text('#name')}?"
    assert not run.done()
    await page.run("window.allows = true; document.querySelector('#cancel').click()")
    with pytest.raises(asyncio.CancelledError):
        await run
    await page.until_text("#state", "cancelled")
    await page.until_shapes(cancelled=1)
    await page.until("document.querySelector('#cancel').hidden")
    await page.until("/is being cancelled/.test(document.querySelector('#answer').textContent)")


async def test_no_cancelling_by_default(opened):
    """There is no button."""
    page = await opened()
    gates = Gates()
    run = page.runtime.start(gates.node("total"))
    await page.until_text("#state", "running")
    assert await page.run("return getComputedStyle(document.querySelector('#cancel')).display") == "none"
    gates.open("total")
    await run


async def test_what_was_not_run_is_told_apart_from_what_has_failed(opened):
    """In the figures, in the table, in the bars and in the picture."""
    page = await opened()
    gates = Gates()
    node = gates.node("save", gates.node("parse", gates.node("fetch"), fails=True))
    for name in ("fetch", "parse"):
        gates.open(name)
    with pytest.raises(ValueError, match="onerror"):
        await page.runtime.compute(node)
    await page.until_text("#state", "failed")
    await page.until_shapes(**{"finished": 1, "failed": 1, "not run": 1})
    assert await page.text("#chips") == "3 nodes1 finished1 failed1 not run"
    assert [await page.text(f"#functions tr:nth-child(3) td:nth-child({each})") for each in (1, 6, 7)] == [
        "save",
        "0",
        "1",
    ]
    bar = "document.querySelector('#functions tr:nth-child(3) .not-run')"
    assert await page.run(f"return {bar}.style.width") == "100%"


@pytest.mark.parametrize("show_values", [False, True])
async def test_what_runs_say_is_never_html(opened, show_values):
    """Names and messages are shown as the text that they are, and nothing in them is run."""
    page = await opened(show_values=show_values)
    gates = Gates()
    node = gates.node(NASTY, gates.node("fetch"), fails=True)
    for name in ("fetch", NASTY):
        gates.open(name)
    with pytest.raises(ValueError, match="onerror"):
        await page.runtime.compute(node)
    await page.until_text("#state", "failed")
    await page.until_shapes(failed=1, finished=1)
    assert (await page.text("#name")).startswith(NASTY)
    assert await page.text("#functions tr:nth-child(2) td") == NASTY
    failure = await page.text("#failures li")
    assert failure.startswith(f"ValueError in {NASTY}-")
    assert ", built at " in failure
    assert failure.endswith(NASTY) is show_values
    assert not await page.run("return window.hasRun || document.querySelector('main img') !== null")


async def test_a_run_that_began_while_nobody_looked(opened, browser):
    """Its progress and its picture are there, by function; there is no timeline of it."""
    runtime_page = await opened()
    await asyncio.to_thread(browser.open, "about:blank")
    await until(lambda: not runtime_page.app._feed.clients)
    gates = Gates()
    run = runtime_page.runtime.start(gates.node("total", gates.node("fetch")))
    page = await opened_again(runtime_page)
    await page.until_shapes(running=1, waiting=1)
    assert await page.run("return document.querySelector('#timeline-section').hidden")
    gates.open("fetch")
    await page.until_shapes(running=1, finished=1)
    gates.open("total")
    await run
    await page.until_shapes(finished=2)


async def opened_again(page):
    """Return to a page that was left."""
    await asyncio.to_thread(page.browser.driver.back)
    await page.until("document.querySelector('#link')?.dataset.link === 'open'")
    return page


async def test_many_nodes(opened):
    """A graph of hundreds is drawn with few shapes, whose tooltips say how far their nodes are."""
    page = await opened()
    gate = threading.Event()

    @delayed
    def fetch(number):
        gate.wait()
        return number

    run = page.runtime.start(delayed(sum, name="total")([fetch(number) for number in range(500)]))
    try:
        await page.until("document.querySelectorAll('#picture [data-shape]').length > 0")
        await page.until("/\u00d7.500/.test(document.querySelector('#picture').textContent)")
        await page.until("/2 running/.test(document.querySelector('#picture').textContent)")
    finally:
        gate.set()
    await run
    await page.until_shapes(finished=2)
    assert await page.run("return document.querySelectorAll('#picture [data-shape]').length") == 2
    await page.until("/500 finished/.test(document.querySelector('#picture').textContent)")


async def test_the_timeline(opened):
    """It has a row for each place, says on which node the pointer is, and holds no more calls than fit."""
    page = await opened()
    await page.runtime.compute([delayed(abs, name="count")(number) for number in range(MOST_BARS + 100)])
    await page.until_text("#state", "finished")
    label = "document.querySelector('#timeline').getAttribute('aria-label')"
    await page.until(f"/: {MOST_BARS} calls .* in [12] rows/.test({label})")
    found = await page.run(
        """const canvas = document.querySelector("#timeline");
        const { left, top, width } = canvas.getBoundingClientRect();
        for (let x = 97; x < width; x += 1) {
            const place = { clientX: left + x, clientY: top + 9, bubbles: true };
            canvas.dispatchEvent(new MouseEvent("mousemove", place));
        }
        return document.querySelector("#bar").textContent"""
    )
    assert "count-" in found
    assert ": finished, " in found
    assert "on thread " in found


async def test_workers_and_slots(opened):
    """Worker processes are shown while they are there, and slots with how many are in use."""
    page = await opened()
    gates = Gates()
    run = page.runtime.start([gates.node("total"), delayed(abs, executor="process")(-1)])
    await page.until("/^process [0-9]+idle$/.test(document.querySelector('#workers')?.textContent)")
    await page.until_text("#slots .slot:nth-child(1) .number", "1 of 8")
    shown = await page.run("return document.querySelector('#slots').innerText.split(/\\n+/)")
    assert shown == ["loop", "1 of 8", "thread", "0 of 2", "process", "0 of 1"]
    gates.open("total")
    await run
    await page.until_text("#slots .slot:nth-child(1) .number", "0 of 8")


async def test_zooming(opened):
    """The picture grows and shrinks, also by keys, and keeps its proportions."""
    page = await opened()
    await page.runtime.compute(delayed(abs, name="total")(-1))
    await page.until_shapes(finished=1)
    size = """const { width, height } = document.querySelector("#picture svg").getBoundingClientRect();
        return [width, height]"""
    width, height = await page.run(size)
    await page.run("document.querySelector('[data-zoom=in]').focus()")
    from selenium.webdriver.common.keys import Keys

    button = await asyncio.to_thread(page.browser.driver.find_element, "css selector", "[data-zoom=in]")
    await asyncio.to_thread(button.send_keys, Keys.ENTER)
    wider, higher = await page.run(size)
    assert wider == pytest.approx(1.25 * width)
    assert higher == pytest.approx(1.25 * height)


async def test_by_keyboard(opened):
    """Every control can be reached, in the order in which they are read, and a run chosen."""
    from selenium.webdriver.common.keys import Keys

    page = await opened()
    for name in ("one", "two"):
        await page.runtime.compute(delayed(abs, name=name)(-1))
        await page.until_text("#runs .name", f"{name}-1")

    def walk():
        driver = page.browser.driver
        seen = []
        for _ in range(5):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            seen.append(page.browser.run("return document.activeElement.innerText.trim().split('\\n')[0]"))
        driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
        return seen

    seen = await asyncio.to_thread(walk)
    assert seen[0] == "Skip to the run"
    assert seen[2:4] == ["two-1", "one-1"]
    await asyncio.to_thread(lambda: page.browser.driver.switch_to.active_element.send_keys(Keys.ENTER))
    await page.until_text("#name", "one-1")
    assert await page.run("return document.activeElement.getAttribute('aria-current')") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 800)])
async def test_light_and_dark_wide_and_narrow(opened, browser, scheme, width, height):
    """Nothing is wider than the window, and what is written can be told from what is behind it."""
    await asyncio.to_thread(browser.resize, width, height)
    await asyncio.to_thread(browser.prefer, scheme)
    page = await opened(show_values=True, details="always")
    gates = Gates()
    node = gates.node("a_rather_long_name_of_a_function_that_is_longer_than_most", fails=True)
    gates.open("a_rather_long_name_of_a_function_that_is_longer_than_most")
    with pytest.raises(ValueError, match="onerror"):
        await page.runtime.compute([node, delayed(abs, executor="process")(-1)])
    await page.until_text("#state", "failed")
    await page.until("document.querySelectorAll('#picture [data-shape]').length > 0")
    assert await page.run("return document.documentElement.scrollWidth") <= width
    assert await page.run(TOO_FAINT) == []


# Elements with text of their own whose contrast to the background is less than 4.5.
TOO_FAINT = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const [r, g, b] = parse(color).slice(0, 3).map((each) => each / 255).map(
    (each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if ((parse(color)[3] ?? 1) > 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
for (const element of document.querySelectorAll("body *:not(svg *):not(noscript *)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const { width, height } = element.getBoundingClientRect();
  if (!own || !width || !height || element.matches(".none, .skip")) continue;
  const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
  const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (contrast < 4.5) found.push(`${element.outerHTML}: ${contrast}`);
}
return found;
"""


async def test_the_server_comes_back(browser):
    """While it is away the page says so; then it shows what there is, without being loaded again."""
    async with Runtime() as runtime:
        app = dashboard(runtime, interval=0.02)
        page = Page(browser, app, runtime)
        async with serving(app) as url:
            await asyncio.to_thread(browser.open, url)
            await page.until("document.querySelector('#link').dataset.link === 'open'")
            await page.run("window.stays = true")
        await page.until("document.querySelector('#link').dataset.link === 'lost'")
        await runtime.compute(delayed(abs, name="meanwhile")(-1))
        port = int(url.rstrip("/").rpartition(":")[2])
        async with serving(app, port=port):
            await page.until_text("#name", "meanwhile-1")
            assert await page.text("#link") == "live"
            assert await page.run("return window.stays")
            await asyncio.to_thread(browser.open, "about:blank")
    browser.complaints()  # that the connection was refused, which is so


async def test_ids_of_svg_pictures_stay_apart(opened):
    """What is put into the page is the picture alone: no script, no style, no address."""
    page = await opened()
    await page.runtime.compute(delayed(abs, name="total")(-1))
    await page.until_shapes(finished=1)
    names = await page.run(
        """return [...new Set([...document.querySelectorAll("#picture svg, #picture svg *")].flatMap(
        (each) => [each.tagName, ...each.getAttributeNames()]))]"""
    )
    assert not {"script", "style", "foreignObject", "href", "xlink:href", "onclick"} & set(names)
