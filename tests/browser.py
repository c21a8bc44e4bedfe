"""A real browser, headless, to look at pages as people do: Chromium, installed where it is missing and may be."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from eventually import PATIENCE_SECONDS
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGES = ("chromium", "fonts-noto-cjk")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def found() -> str | None:
    """Return the path of a Chromium, installing Debian's as root where there is none; None where it cannot be had."""
    if (path := _on_path()) is not None:
        return path
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        return None
    install = ("install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *_PACKAGES)
    for arguments in (("update", "-qq"), install):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, check=False)
    return _on_path()


def _on_path() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def started() -> Iterator[Browser]:
    """Run a browser; skip the test, with the reason, where there is none to be had."""
    path = found()
    if path is None:
        pytest.skip("no Chromium here, and none can be installed: apt-get install chromium, as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def page_of(
    browser: Browser, url: str, *, width: int = 1440, height: int = 900, language: str = "en-GB", dark: bool = False
) -> Iterator[Page]:
    """Open a tab of a browser that knows nothing yet; whatever it complained of, or asked of another host, fails the test."""
    context: BrowserContext = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        locale=language,
        color_scheme="dark" if dark else "light",
    )
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else complaints.append(asked.url))
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    yield page
    context.close()
    assert complaints == []
