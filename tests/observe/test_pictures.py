"""Pictures and pages, looked at in a browser: what overlaps, what is cut off, what can be done with them."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest

from asyncgraph import delayed, resource, when
from asyncgraph.observe import Mark
from asyncgraph.observe.drawing import Drawing, boxes_of_graph
from asyncgraph.observe.drawing.measure import width_of
from tests.browser import Browser
from tests.observe.graphs import (
    AWKWARD,
    chain,
    fetch,
    inc,
    lattice,
    merge,
    mission,
    pairwise,
    random_boxes,
    save,
)

# Of all texts and shapes: where they are. A shape is the first thing in its group that is drawn.
LOOK = """
const svg = document.querySelector("svg"), box = svg.viewBox.baseVal;
const toPicture = svg.getScreenCTM().inverse();
const placed = (element) => {
    const at = element.getBoundingClientRect();
    const [one, other] = [[at.left, at.top], [at.right, at.bottom]].map(
        ([x, y]) => new DOMPoint(x, y).matrixTransform(toPicture));
    return [one.x, one.y, other.x, other.y];
};
const shapes = [...svg.querySelectorAll("[data-shape]")];
return {
    picture: [box.x, box.y, box.x + box.width, box.y + box.height],
    texts: [...svg.querySelectorAll("text")].map((each) => [each.textContent, placed(each)]),
    shapes: shapes.map((each) => [each.dataset.shape, placed(each)]),
    labels: shapes.map((each) => placed(each.querySelector("text"))),
    edges: [...svg.querySelectorAll("[data-from]")].map(placed),
};
"""


def choices() -> Any:
    """Return a graph with a resource, a choice and data."""
    folder = resource(tempfile.TemporaryDirectory)
    found = merge(folder, other=inc(delayed(10)))
    return when(found > 3, save(found), merge(folder, delayed({"x": [1, 2, 3]})))


def awkward() -> Any:
    """Return a graph in which texts are hard to show."""
    nodes = []
    for text in AWKWARD.values():
        shown = type("Shown", (), {"__repr__": lambda self, text=text: text})
        nodes.append(delayed(dict, name=text)(**{text[:20]: delayed(shown()), "other": delayed(1)}))
    return delayed(sum)(nodes)


GRAPHS = {
    "mission": lambda: mission(3),
    "siblings": lambda: mission(500),
    "wide": lambda: mission(40),
    "tree": lambda: pairwise(16),
    "uneven tree": lambda: pairwise(600),
    "chain": lambda: chain(12),
    "long chain": lambda: chain(10_000),
    "lattice": lambda: lattice(6),
    "large lattice": lambda: lattice(30),
    "choices": choices,
    "awkward": awkward,
    "one": lambda: delayed(None),
    "shared": lambda: merge(*[fetch(1)] * 2),
}


def check(browser: Browser, svg: str) -> None:
    """Fail if texts or shapes overlap, or if anything is outside of the picture."""
    browser.open(svg)
    seen = browser.run(LOOK)
    left, top, right, bottom = seen["picture"]
    everything = [place for _, place in seen["texts"] + seen["shapes"]] + seen["edges"]
    for x0, y0, x1, y1 in everything:
        assert left - 0.5 <= x0 <= x1 <= right + 0.5
        assert top - 0.5 <= y0 <= y1 <= bottom + 0.5
    for (_, shape), label in zip(seen["shapes"], seen["labels"], strict=True):
        assert shape[0] <= label[0] <= label[2] <= shape[2]
    assert overlaps(seen["texts"]) == []
    assert overlaps(seen["shapes"]) == []
    inside = {tuple(place) for place in seen["labels"]}
    beside = [(text, place) for text, place in seen["texts"] if tuple(place) not in inside]
    assert not list(overlaps(beside + seen["shapes"]))


def overlaps(named: list[Any]) -> list[tuple[str, str]]:
    """Return the pairs of rectangles that overlap by more than a pixel."""
    found = []
    ordered = sorted(named, key=lambda each: each[1][0])
    for number, (name, one) in enumerate(ordered):
        for other_name, other in ordered[number + 1 :]:
            if other[0] >= one[2] - 1:
                break
            if min(one[3], other[3]) - max(one[1], other[1]) > 1:
                found.append((name, other_name))
    return found


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_overlaps_or_is_cut_off(browser: Browser, graph: str) -> None:
    """No label covers another or a shape, labels are within their shapes, and all is within the picture."""
    check(browser, GRAPHS[graph]().visualize())


@pytest.mark.parametrize("seed", range(24))
def test_nothing_overlaps_in_random_graphs(browser: Browser, seed: int) -> None:
    """Sparse ones and dense ones, deep and wide, with labels of all lengths, collapsed or not."""
    boxes = random_boxes(seed, (5, 20, 60, 140, 300)[seed % 5])
    check(browser, Drawing(boxes, collapse=seed % 2 == 0).svg())


@pytest.mark.parametrize("color", ["state", "duration", "order"])
def test_legends_are_within_the_picture(browser: Browser, color: Any) -> None:
    """Also where the picture is narrower than they are."""
    states = ["waiting", "ready", "running", "finished", "failed", "cancelled", "released"]
    node = chain(8)
    marks = {key: Mark(state, 1.0, 1) for key, state in zip(node.graph, states, strict=False)}
    check(browser, node.visualize(color=color, run=marks))


def test_pictures_are_transparent_and_legible(browser: Browser) -> None:
    """The page shows through, and what is written outside of shapes differs from white and from black."""
    svg = Drawing(boxes_of_graph(pairwise(4).graph)).svg()
    for page, color in [("#ffffff", (255, 255, 255)), ("#000000", (0, 0, 0))]:
        browser.open(
            f"<!doctype html><link rel='icon' href='data:,'><body style='margin:0;background:{page}'>{svg}"
        )
        assert browser.pixel(2, 2) == color
        assert browser.run("return getComputedStyle(document.querySelector('text[data-edge]')).fill") == (
            "rgb(118, 118, 118)"
        )


def test_two_pictures_in_one_page(browser: Browser) -> None:
    """No id is there twice."""
    browser.open(
        f"<!doctype html><link rel='icon' href='data:,'>{mission(2).visualize()}{chain(3).visualize()}"
    )
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids)) > 10


MEASURE = """
const context = new OffscreenCanvas(10, 10).getContext("2d"), [texts, fonts] = arguments;
return texts.map((text) => Math.max(...fonts.map((font) => {
    context.font = `100px ${font}`;
    return context.measureText(text).width;
})));
"""


def test_text_is_not_wider_than_is_reckoned(browser: Browser) -> None:
    """Every character of ASCII, and words, in the font of pictures and in the widest of the usual ones."""
    browser.open("<!doctype html><link rel='icon' href='data:,'>")
    texts = [chr(code) for code in range(33, 127)] + [
        "fetch-12",
        "WWWWWWWW",
        "größe",
        "inc \u00d7 10\u00a0000",
        "…",
    ]
    fonts = ["Helvetica, Arial, sans-serif", "DejaVu Sans", "sans-serif"]
    for text, measured in zip(texts, browser.run(MEASURE, texts, fonts), strict=True):
        assert measured <= width_of(text, 100), text


# --- the page ---

VIEW = "return document.querySelector('#picture svg').getAttribute('viewBox').split(' ').map(Number)"
SEEN = """
const shape = document.querySelector(`[data-shape="${arguments[0]}"]`), at = shape.getBoundingClientRect();
return [at.left + at.width / 2, at.top + at.height / 2];
"""


def open_page(browser: Browser, node: Any, **options: Any) -> None:
    """Open the page of a node's graph."""
    browser.open(str(node.visualize(format="html", **options)))


def press(browser: Browser, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver, duration=0).send_keys(*keys).perform()


def test_a_page_shows_all_of_the_graph(browser: Browser) -> None:
    """When it is opened, every shape is in the window."""
    open_page(browser, pairwise(16))
    for number in range(31):
        x, y = browser.run(SEEN, str(number))
        assert 0 < x < 1280
        assert 45 < y < 800
    assert browser.run("return document.getElementById('size').textContent") == "31 nodes"


def test_a_page_says_how_much_is_collapsed(browser: Browser) -> None:
    """How many nodes there are, and how many shapes."""
    open_page(browser, mission(500))
    assert browser.run("return document.getElementById('size').textContent") == "1,502 nodes, drawn as 5"


def test_zoom(browser: Browser) -> None:
    """Buttons, keys and the wheel; the wheel keeps what is under the pointer where it is."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    open_page(browser, pairwise(16))
    _x, _y, width, height = fitted = browser.run(VIEW)
    browser.driver.find_element("id", "in").click()
    larger = browser.run(VIEW)
    assert larger[2] == pytest.approx(width / 1.25)
    assert larger[3] == pytest.approx(height / 1.25)
    press(browser, "-")
    assert browser.run(VIEW) == pytest.approx(fitted)
    press(browser, "+", "+")
    press(browser, "0")
    assert browser.run(VIEW) == pytest.approx(fitted)
    before = browser.run(SEEN, "3")
    shape = browser.driver.find_element("css selector", '[data-shape="3"]')
    origin = ScrollOrigin.from_element(shape)
    ActionChains(browser.driver, duration=0).scroll_from_origin(origin, 0, -300).perform()
    assert browser.until("(view => view[2] < arguments[0])(" + VIEW.removeprefix("return ") + ")", width - 1)
    assert browser.run(SEEN, "3") == pytest.approx(before, abs=1.5)


def test_pan(browser: Browser) -> None:
    """Dragging moves the picture with the pointer; arrow keys move it, too."""
    from selenium.webdriver import ActionChains

    open_page(browser, mission(3))
    x, y = browser.run(SEEN, "0")
    main = browser.driver.find_element("id", "picture")
    ActionChains(browser.driver, duration=0).move_to_element_with_offset(
        main, 300, 0
    ).click_and_hold().move_by_offset(-70, 40).release().perform()
    assert browser.run(SEEN, "0") == pytest.approx([x - 70, y + 40], abs=1)
    press(browser, "\ue014")  # the right arrow
    assert browser.run(SEEN, "0") == pytest.approx([x - 130, y + 40], abs=1)


def test_hover(browser: Browser) -> None:
    """Details are shown, and the edges of the shape stand out, as long as the pointer is there."""
    from selenium.webdriver import ActionChains

    node = mission(3)
    marks = {key: Mark("finished", 0.5, 0) for key in node.graph}
    open_page(browser, node, run=marks)
    details = browser.driver.find_element("id", "details")
    assert not details.is_displayed()
    shape = browser.driver.find_element("css selector", '[data-shape="1"]')
    ActionChains(browser.driver, duration=0).move_to_element(shape).perform()
    assert details.is_displayed()
    key = list(node.graph)[1]
    assert details.text.startswith(f"{key} = parse(")
    assert "executor process" in details.text
    assert "took 500 ms" in details.text
    near = "return [...document.querySelectorAll('[data-from].near')].map((each) => each.dataset.from)"
    assert browser.run(near) == ["0", "1"]
    main = browser.driver.find_element("id", "picture")
    ActionChains(browser.driver, duration=0).move_to_element_with_offset(main, -600, 0).perform()
    assert not details.is_displayed()
    assert browser.run(near) == []


def test_search(browser: Browser) -> None:
    """Matches stand out, Enter goes from one to the next and round, and each comes into the middle."""
    open_page(browser, mission(20))
    press(browser, "/")
    press(browser, "PARSE")
    found = browser.driver.find_element("id", "found")
    assert found.text == "1 of 20"
    matches = "return [...document.querySelectorAll('.match')].length"
    assert browser.run(matches) == 20
    current = "return document.querySelector('.current').dataset.shape"
    first = browser.run(current)
    assert browser.run(SEEN, first) == pytest.approx([640, 422], abs=6)
    press(browser, "\n")
    assert found.text == "2 of 20"
    second = browser.run(current)
    assert second != first
    assert browser.run(SEEN, second) == pytest.approx([640, 422], abs=6)
    browser.driver.find_element("id", "previous").click()
    browser.driver.find_element("id", "previous").click()
    assert found.text == "20 of 20"
    assert browser.driver.find_element("id", "details").is_displayed()
    browser.driver.find_element("id", "query").send_keys("x")
    assert found.text == "nothing"
    assert browser.run(matches) == 0
    browser.driver.find_element("id", "query").send_keys("\ue00c")  # Escape
    assert browser.run("return document.activeElement.id") == "picture"
    assert browser.run("return document.getElementById('query').value") == ""


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_light_and_dark_pages(browser: Browser, scheme: str, is_dark: bool) -> None:
    """As the user prefers; text differs from what it is on."""
    browser.prefer(scheme)
    open_page(browser, mission(3))
    assert (sum(browser.pixel(20, 700)) < 150) is is_dark
    title = browser.run("return getComputedStyle(document.querySelector('h1')).color")
    assert (title == "rgb(230, 237, 243)") is is_dark


def test_a_page_is_within_narrow_windows(browser: Browser) -> None:
    """As on a telephone: nothing is wider than the window."""
    browser.resize(380, 700)
    open_page(browser, mission(3))
    assert browser.run("return document.documentElement.scrollWidth") <= 380


@pytest.mark.parametrize("kind", AWKWARD)
def test_pages_with_awkward_text(browser: Browser, kind: str) -> None:
    """They are shown, and nothing in them runs."""
    text = AWKWARD[kind]
    browser.open(str(delayed(dict, name=text)(**{text: delayed(1)}).visualize(format="html")))
    assert browser.run("return document.querySelectorAll('[data-shape]').length") == 2
    assert browser.run("return document.querySelectorAll('script').length") == 1


def test_a_page_in_a_notebook(browser: Browser) -> None:
    """It is in a frame of its own, in which its script runs."""
    frame = mission(2).visualize(format="html")._repr_mimebundle_()["text/html"]
    browser.open(f"<!doctype html><link rel='icon' href='data:,'>{frame}")
    browser.driver.switch_to.frame(0)
    assert browser.run("return document.querySelector('[data-shape]').getAttribute('aria-label')")
    browser.driver.switch_to.default_content()


def test_a_large_page(browser: Browser) -> None:
    """Two thousand shapes are shown, and found."""
    open_page(browser, mission(666), collapse=False)
    press(browser, "/")
    press(browser, "parse")
    assert browser.driver.find_element("id", "found").text == "1 of 666"
