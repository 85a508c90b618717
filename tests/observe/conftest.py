"""The browser: one for the session, and a tab in it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Browser, browsing


@pytest.fixture(scope="session")
def session_browser() -> Iterator[Browser]:
    """Return the browser itself; it is there before, and after, what a test may leave behind is counted."""
    with browsing() as browser:
        yield browser


@pytest.fixture
def browser(session_browser: Browser) -> Iterator[Browser]:
    """Return the browser, as new; the test fails if a page has complained to the console."""
    session_browser.reset()
    yield session_browser
    complaints = session_browser.complaints()
    session_browser.reset()
    assert not complaints, "\n".join(complaints)
