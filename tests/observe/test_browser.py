"""The browser that the other tests here look at pages with."""

from __future__ import annotations

import pytest

from tests import browser as rig
from tests.browser import Browser, browsing

SCHEME = "return matchMedia('(prefers-color-scheme: dark)').matches"
PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>größe</title><link rel="icon" href="data:,">
<style>body { background: #fff } @media (prefers-color-scheme: dark) { body { background: #000 } }</style>
</head><body></body></html>"""


def test_text_is_opened_as_a_page(browser: Browser) -> None:
    """The page is loaded when `open` returns, and scripts run in it."""
    browser.open(PAGE)
    assert browser.run("return document.title") == "größe"
    assert browser.until("document.body") is not None


def test_a_picture_is_opened_as_one(browser: Browser) -> None:
    """Text that begins with <svg is an SVG document."""
    browser.open('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 20"><rect width="3"/></svg>')
    assert browser.run("return document.documentElement.viewBox.baseVal.height") == 20


def test_light_and_dark(browser: Browser) -> None:
    """What the user prefers can be set, and shows."""
    browser.open(PAGE)
    assert not browser.run(SCHEME)
    assert browser.pixel(5, 5) == (255, 255, 255)
    browser.prefer("dark")
    assert browser.run(SCHEME)
    assert browser.pixel(5, 5) == (0, 0, 0)


def test_the_size_can_be_set(browser: Browser) -> None:
    """In CSS pixels; the next test has the usual one again."""
    browser.open(PAGE)
    browser.resize(400, 300)
    assert browser.run("return [innerWidth, innerHeight]") == [400, 300]
    browser.reset()
    assert browser.run("return [innerWidth, innerHeight]") == [1280, 800]


@pytest.mark.parametrize("script", ["console.error('ouch')", "setTimeout(() => { throw Error('ouch') })"])
def test_errors_of_the_console_are_seen(browser: Browser, script: str) -> None:
    """Those that a page logs, and those that nobody has caught."""
    browser.open(f"<!doctype html><link rel='icon' href='data:,'><script>{script}</script>")
    (complaint,) = browser.run("return 1") and browser.complaints()
    assert "ouch" in complaint
    assert browser.complaints() == []


def test_nothing_is_asked_of_the_network(browser: Browser) -> None:
    """What a page wants from elsewhere fails, and so does the test that has opened it."""
    browser.open("<!doctype html><link rel='icon' href='data:,'><img src='http://example.com/a.png'>")
    (complaint,) = browser.complaints()
    assert "ERR_NAME_NOT_RESOLVED" in complaint


def test_nothing_is_left_of_a_browser() -> None:
    """When its block is left, also by an error, all its processes have ended."""
    folders = []

    def fail_while_browsing() -> None:
        with browsing() as opened:
            folders.append(str(opened.folder))
            assert len(rig._processes_of(folders[0])) > 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_browsing()
    assert rig._processes_of(folders[0]) == []


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_browser_is_told(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type) -> None:
    """The test is skipped, or fails under CI; either way it says how to install one."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="apt-get install chromium chromium-driver"):
        rig.commands()
