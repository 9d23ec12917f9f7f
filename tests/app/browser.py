"""A browser for tests of the page: Chromium of the system, which asks nothing but this computer."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest


ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# `npm install axe-core`, here or in the home folder.
AXE = [folder / "node_modules" / "axe-core" / "axe.min.js" for folder in (ROOT, Path.home())]
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def free_port() -> int:
    """A port of this computer that no other test is about to use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tab:
    """
    A page in a browser of its own, without cookies of others.

    Attributes:
        page: of Playwright.
        problems (`list[str]`): requests to elsewhere, dialogs, and errors of scripts.
    """

    def __init__(self, context, address: str):
        self.context, self.page, self.problems = context, context.new_page(), []
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("dialog", self._refuse)
        context.route("**/*", self._route)
        self.page.goto(address)
        self.page.get_by_role("tab", name="Check").wait_for()

    def _route(self, route):
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https", "ws") and address.hostname != "127.0.0.1":
            self.problems.append(f"request: {route.request.url}")
            route.abort()
        else:
            route.continue_()

    def _refuse(self, dialog):
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def drop(self, *files, place: int = 0):
        """Gives files to the first or second place where recordings are dropped."""
        self.page.locator("input[type=file]").nth(place).set_input_files(list(files))

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def serious(self) -> list[str]:
        """What axe-core finds that is serious or worse."""
        found = next((path for path in AXE if path.is_file()), None)
        if found is None:
            pytest.skip("axe-core is missing: npm install axe-core")
        self.page.add_script_tag(path=str(found))
        violations = self.page.evaluate("axe.run()")["violations"]
        grave = [one for one in violations if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {[node['html'][:150] for node in one['nodes']]}" for one in grave]

    def close(self):
        self.context.close()
        assert not self.problems, self.problems


@contextmanager
def chromium() -> Iterator:
    """A running browser of Playwright; skips where Playwright or Chromium is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
