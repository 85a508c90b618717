"""The report in a browser: what can be pointed at, zoomed, found and sorted, light and dark."""

from __future__ import annotations

import pytest

from asyncgraph.observe import Report
from asyncgraph.observe.report.stalls import Stall
from tests.observe.telling import Telling

# Where the middle of a call is on the screen; scrolled to, as a reader would.
_PLACE = """
const timeline = Object.values(report.timelines).at(-1);
for (const [row, track] of timeline.tracks.entries())
  for (let index = 0; index < track.count; index++)
    if (track.keyOf(index) === arguments[0]) {
      timeline.calls.scrollIntoView({block: "center", behavior: "instant"});
      const box = timeline.calls.getBoundingClientRect();
      const middle = (track.starts[index] + track.ends[index]) / 2;
      return [Math.round(box.left + timeline.x(middle)),
              Math.round(box.top + timeline.top(row) + timeline.rowHeight / 2)];
    }
"""
_VIEW = """
const timeline = Object.values(report.timelines).at(-1);
return [timeline.from, timeline.to].map(time => time * timeline.data.unit);
"""
_TIP = "return document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent"


# The texts whose contrast to what is behind them is below 4.5 to 1.
_WEAK = """
const parse = color => {
  const [red, green, blue, opacity] = color.match(/[\\d.]+/g).map(Number);
  return [red, green, blue, opacity ?? 1];
};
const linear = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([red, green, blue]) =>
  0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
const behind = node => {
  for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor);
    if (color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const weak = [];
for (const node of document.querySelectorAll("body *")) {
  const hasText = [...node.childNodes].some(each => each.nodeType === 3 && each.data.trim());
  if (node.closest("svg, script") || !hasText) continue;
  const pair = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (ratio < 4.5) weak.push(`${node.tagName} ${node.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return weak;
"""


def tell(report, name="total-1"):
    """Tell of six downloads at once, each parsed by one of two processes, and of their sum."""
    told = Telling(report, name=name).begin()
    numbers = range(1, 7)
    told.add(*[f"fetch-{number} async" for number in numbers])
    told.add(*[f"parse-{number} process < fetch-{number}" for number in numbers])
    told.add(f"total-1 < {' '.join(f'parse-{number}' for number in numbers)}", outputs=["total-1"])
    for number in numbers:
        told.call(f"fetch-{number}", 0.0, 0.0, 0.5 + number / 10, "loop", 1000 * number)
    for number in numbers:
        began = 1.0 + (number - 1) // 2
        told.call(f"parse-{number}", 0.5 + number / 10, began, began + 1, f"process {40 + number % 2}")
    told.call("total-1", 4.0, 4.0, 5.0, "thread 1")
    report._heart.stalls = [Stall(4.2, 0.4)]
    told.end(5.0)
    return told


@pytest.fixture
def page(browser, tmp_path):
    """Return the browser with the report of a run opened."""
    report = Report(tmp_path / "run.html")
    tell(report)
    browser.open(report.path)
    settle(browser)
    return browser


def settle(browser):
    """Wait until the timeline is drawn as it is to be now."""
    browser.until("Object.values(report.timelines).every(each => each.drawn && !each.asked)")


def place(browser, key):
    """Return where a call is, scrolled to."""
    return browser.run(_PLACE, key)


def mouse(browser, kind, x, y, **more):
    """Let the mouse do something at a place of the window."""
    event = {"type": kind, "x": x, "y": y, **more}
    browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    settle(browser)


def click(browser, selector):
    """Click an element."""
    browser.run("document.querySelector(arguments[0]).click()", selector)
    settle(browser)


def test_pointing_at_a_call_tells_of_it(page):
    """Its key, worker, times, wait and size; and nothing where there is none."""
    mouse(page, "mouseMoved", *place(page, "parse-3"))
    tip = page.run(_TIP).split("\n")
    assert tip[:3] == ["parse-3", "process 41, 1 s from 2 s on", "waited 1.2 s for it"]
    assert "value: about 100 B" in tip
    x, y = place(page, "total-1")
    mouse(page, "mouseMoved", x - 300, y)
    assert page.run(_TIP) is None


def test_pointing_at_the_counters_tells_of_the_moment(page):
    """How many ran, how many were ready, and how many bytes were alive."""
    x, _ = place(page, "parse-3")
    box = page.run(
        """
        const canvas = document.querySelector("canvas.counts");
        canvas.scrollIntoView({block: "center", behavior: "instant"});
        return canvas.getBoundingClientRect().toJSON();
        """
    )
    mouse(page, "mouseMoved", x, int(box["top"] + 30))
    assert page.run(_TIP) == "2.5 s: 2 running, 2 ready\nlive results: about 21.2 kB"


def test_the_tip_stays_in_the_window(page):
    """Also where the call is at the edge of it."""
    page.resize(700, 500)
    settle(page)
    mouse(page, "mouseMoved", *place(page, "total-1"))
    box = page.run("return document.getElementById('tip').getBoundingClientRect().toJSON()")
    assert box["right"] <= 700
    assert box["left"] >= 0
    assert box["bottom"] <= 500


def test_zooming_and_moving(page):
    """Buttons, double clicks, the wheel with Ctrl, keys and dragging; never beyond the run."""
    assert page.run(_VIEW) == [0, 5]
    click(page, "[data-do=in]")
    assert page.run(_VIEW) == [1.25, 3.75]
    x, y = place(page, "parse-3")
    for kind in ("mousePressed", "mouseReleased"):
        mouse(page, kind, x, y, button="left", clickCount=2)
    began, ended = page.run(_VIEW)
    assert ended - began == pytest.approx(1.25)
    mouse(page, "mouseWheel", x, y, deltaX=0, deltaY=-200, modifiers=2)
    nearer = page.run(_VIEW)
    assert nearer[1] - nearer[0] == pytest.approx((ended - began) / 2.718, rel=0.01)
    mouse(page, "mousePressed", x, y, button="left", clickCount=1)
    mouse(page, "mouseMoved", x + 100, y, button="left")
    mouse(page, "mouseReleased", x + 100, y, button="left", clickCount=1)
    assert page.run(_VIEW)[0] < nearer[0]
    click(page, "[data-do=all]")
    assert page.run(_VIEW) == [0, 5]
    page.run("document.querySelector('canvas.calls').focus()")
    press(page, "+")
    press(page, "ArrowRight")
    assert page.run(_VIEW) == [1.5, 4.0]
    for _ in range(9):
        press(page, "ArrowRight")
    assert page.run(_VIEW) == [2.5, 5.0]
    press(page, "0")
    assert page.run(_VIEW) == [0, 5]


def press(browser, key):
    """Press a key."""
    for kind in ("keyDown", "keyUp"):
        browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key, "text": key[:1]})
    settle(browser)


def test_the_wheel_alone_scrolls_the_page(page):
    """The timeline does not catch it."""
    x, y = place(page, "parse-3")
    page.run("scrollTo({top: 0, behavior: 'instant'})")
    page.run("window.wheeled = null; addEventListener('wheel', e => { window.wheeled = e.defaultPrevented })")
    x, y = place(page, "parse-3")
    mouse(page, "mouseWheel", x, y, deltaX=0, deltaY=50)
    page.until("window.wheeled !== null")
    assert page.run("return window.wheeled") is False
    assert page.run(_VIEW) == [0, 5]


def test_finding_calls(page):
    """How many there are is said, Enter goes from one to the next, and the legend finds a function."""
    page.run("document.querySelector('input[type=search]').focus()")
    page.driver.switch_to.active_element.send_keys("parse")
    settle(page)
    found = "return document.querySelector('output').textContent"
    assert page.run(found) == "6 calls"
    page.driver.switch_to.active_element.send_keys("-2\n")
    settle(page)
    assert page.run(found) == "1 of 1: parse-2"
    began, ended = page.run(_VIEW)
    assert began <= 1.5 <= ended
    page.run("[...document.querySelectorAll('.legend button')].find(e => e.textContent === 'fetch').click()")
    settle(page)
    assert page.run(found) == "6 calls"


def test_the_critical_path_can_be_shown_alone(page):
    """Other calls fade."""
    x, y = place(page, "fetch-1")
    before = page.pixel(x, y)
    click(page, "[data-do=path]")
    assert page.run("return document.querySelector('[data-do=path]').getAttribute('aria-pressed')") == "true"
    after = page.pixel(*place(page, "fetch-1"))
    assert sum(after) > sum(before) + 100
    assert page.pixel(*place(page, "total-1")) != page.pixel(*place(page, "fetch-1"))


def test_calls_are_where_their_times_are(page):
    """A call's color is there from its beginning to its end, and not beyond."""
    x, y = place(page, "parse-5")
    width = page.run("return Object.values(report.timelines)[0].width()")
    inside = page.pixel(x, y + 4)
    half = width / 5 / 2
    assert page.pixel(int(x - half + 4), y + 4) == inside
    assert page.pixel(int(x + half - 4), y + 4) == inside
    assert page.pixel(int(x + half + 6), y + 4) != inside


def test_functions_can_be_sorted(page):
    """A click on a head sorts by it, another one the other way round."""
    names = "return [...document.querySelectorAll('.functions tbody tr')].map(e => e.children[0].textContent)"
    assert page.run(names) == ["parse", "fetch", "total"]
    for expected in (["fetch", "parse", "total"], ["total", "parse", "fetch"]):
        click(page, ".functions th:nth-child(3) button")
        shown = page.run(names)
        assert shown[-1 if expected[-1] == "total" else 0] == "total"
        assert (shown[0] == "total") == (expected[0] == "total")


def test_a_run_can_be_chosen(browser, tmp_path):
    """The last is shown at first; choosing another shows that, with its timeline."""
    report = Report(tmp_path / "run.html")
    for name in ("one", "two"):
        tell(report, name)
    browser.open(report.path)
    settle(browser)
    shown = (
        "return [...document.querySelectorAll('article:not([hidden]) h1')].map(e => e.firstChild.textContent)"
    )
    assert browser.run(shown) == ["two"]
    browser.run(
        "const choice = document.getElementById('choice'); choice.selectedIndex = 0;"
        "choice.dispatchEvent(new Event('change'))"
    )
    settle(browser)
    assert browser.run(shown) == ["one"]
    assert browser.run("return Object.keys(report.timelines).length") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page, scheme):
    """Text stands out against what is behind it everywhere, by the ratio that accessibility asks for."""
    page.prefer(scheme)
    page.until("matchMedia('(prefers-color-scheme: dark)').matches === arguments[0]", scheme == "dark")
    assert page.run(_WEAK) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_of_calls_can_be_read(page, scheme):
    """The text on a bar stands out against each of the colors that bars have."""
    page.prefer(scheme)
    page.until("matchMedia('(prefers-color-scheme: dark)').matches === arguments[0]", scheme == "dark")
    settle(page)
    colors = page.run("const ink = Object.values(report.timelines)[0].ink; return [ink.label, ...ink.colors]")
    label, *bars = [luminance(color) for color in colors]
    for bar in bars:
        lighter, darker = max(label, bar), min(label, bar)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.2


def luminance(color):
    """Return how light a color such as #3767cc is, from 0 to 1."""
    digits = color.strip("#")
    digits = digits if len(digits) == 6 else "".join(each * 2 for each in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("width", [1600, 1280, 768, 390])
def test_nothing_overlaps_or_falls_off(page, width):
    """Parts stand below each other, figures within their frames, and no page scrolls sideways."""
    page.resize(width, 900)
    settle(page)
    assert page.run("return document.documentElement.scrollWidth") <= width
    wrong = page.run(
        """
        const wrong = [], box = node => node.getBoundingClientRect();
        const apart = (nodes, name) => nodes.forEach((a, i) => nodes.slice(i + 1).forEach(b => {
          const [x, y] = [box(a), box(b)];
          if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 1 && y.top < x.bottom - 1)
            wrong.push(`${name}: ${a.textContent.slice(0, 20)} | ${b.textContent.slice(0, 20)}`);
        }));
        apart([...document.querySelectorAll("section, .tiles, h1")], "parts");
        apart([...document.querySelectorAll(".tile")], "tiles");
        apart([...document.querySelectorAll(".tools > *")], "tools");
        for (const tile of document.querySelectorAll(".tile"))
          for (const part of tile.children)
            if (box(part).right > box(tile).right + 1 || part.scrollWidth > part.clientWidth + 1)
              wrong.push(`${part.textContent} does not fit`);
        return wrong;
        """
    )
    assert wrong == []


def test_many_calls(browser, tmp_path):
    """A run of 20 000 calls opens, shows all of it, and each call can still be found and pointed at."""
    report = Report(tmp_path / "run.html")
    told = Telling(report).begin()
    told.add(*[f"step-{number}" for number in range(20_000)])
    for number in range(20_000):
        began = number // 8 * 0.001
        told.call(f"step-{number}", 0.0, began, began + 0.0009, f"thread {number % 8}")
    told.end(2.5)
    report.wait()
    browser.open(report.path)
    settle(browser)
    browser.run("document.querySelector('input[type=search]').focus()")
    browser.driver.switch_to.active_element.send_keys("step-17777\n")
    settle(browser)
    assert browser.run("return document.querySelector('output').textContent") == "1 of 1: step-17777"
    mouse(browser, "mouseMoved", *place(browser, "step-17777"))
    assert browser.run(_TIP).startswith("step-17777\nthread 1, 900 µs from 2.22 s on")
