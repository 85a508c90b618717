"""A headless browser in which pictures and pages are looked at; one for all tests of a session.

It sees this machine only: names of others are not looked up. Whatever ends the session ends its processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

INSTALL = "apt-get install chromium chromium-driver"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVERS = ("chromedriver", "chromium.chromedriver")

# Beside those that keep it from asking the network for anything, and from showing anything.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

_PATIENCE = 10.0
"""Seconds that the browser's processes may take to end, before they are killed."""


def commands() -> tuple[str, str]:
    """Return the paths of the browser and of its driver; without them, skip the test or, under CI, fail."""
    browser, driver = (_first_of(names) for names in (_BROWSERS, _DRIVERS))
    if browser and driver:
        return browser, driver
    complaint = f"there is no browser to look at pictures with: {INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(complaint, pytrace=False)
    pytest.skip(complaint)


def _first_of(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """A browser with one tab.

    Attributes:
        driver: The `selenium.webdriver.Chrome` behind it, for what this class does not do.
        folder: Where the pages are that `open` was given as text.
    """

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self.folder = folder
        self._pages = 0

    def open(self, page: str | Path) -> None:
        """Open an address, a file, or the text of a page or of an SVG picture; wait until it is loaded."""
        if isinstance(page, str) and page.lstrip().startswith("<"):
            page = self._written(page)
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)

    def run(self, script: str, *args: Any) -> Any:
        """Run the body of a JavaScript function in the page; what it returns."""
        return self.driver.execute_script(script, *args)

    def until(self, condition: str, *args: Any) -> Any:
        """Wait until a JavaScript expression is true, looking before each frame is drawn; its value.

        Raises:
            selenium.common.TimeoutException: It is not true after 30 seconds.
        """
        return self.driver.execute_async_script(
            f"""const done = arguments[arguments.length - 1];
            const look = () => {{
                const value = ({condition});
                value ? done(value) : requestAnimationFrame(look);
            }};
            look();""",
            *args,
        )

    def resize(self, width: int, height: int) -> None:
        """Let the page have this many CSS pixels."""
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def prefer(self, scheme: str) -> None:
        """Let the user prefer "light" or "dark"."""
        self._tell(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )

    def screenshot(self, path: str | Path) -> Path:
        """Write what the tab shows to a PNG file."""
        path = Path(path)
        path.write_bytes(self.driver.get_screenshot_as_png())
        return path

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        """Return the color of what the tab shows at a place: red, green and blue."""
        shown = self.driver.get_screenshot_as_base64()
        color = self.driver.execute_async_script(
            """const [shown, x, y, done] = arguments, image = new Image();
            image.onload = () => {
                const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
                context.drawImage(image, 0, 0);
                done([...context.getImageData(x, y, 1, 1).data]);
            };
            image.src = "data:image/png;base64," + shown;""",
            shown,
            x,
            y,
        )
        return tuple(color[:3])

    def complaints(self) -> list[str]:
        """Return the errors and warnings of the console since the last time."""
        return [
            f"{entry['level']}: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def reset(self) -> None:
        """Forget the page, and all that was set for it."""
        self.driver.get("about:blank")
        self.resize(1280, 800)
        self.prefer("light")
        self.complaints()

    def _tell(self, command: str, parameters: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, parameters)

    def _written(self, text: str) -> Path:
        self._pages += 1
        suffix = "svg" if text.lstrip().startswith(("<svg", "<?xml")) else "html"
        path = self.folder / f"page-{self._pages}.{suffix}"
        path.write_text(text, "utf-8")
        return path


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """A browser, which has ended with all its processes when the block is left."""
    browser, driver = commands()
    from selenium import webdriver  # it takes a while

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        for flag in (*_FLAGS, f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        with mock.patch.dict(os.environ, no_proxy="localhost,127.0.0.1"):  # the driver is here
            chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            chrome.set_script_timeout(30)
            opened = Browser(chrome, Path(folder))
            opened.reset()  # what it opens at first use is open from here on
            yield opened
        finally:
            try:
                chrome.quit()
            finally:
                _end_all_of(folder)


def _end_all_of(folder: str) -> None:
    """Wait for the processes that have a folder among their arguments, and kill those that do not end."""
    deadline = time.monotonic() + _PATIENCE
    while (left := _processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(folder: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
