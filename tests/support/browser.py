# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Chromium without a screen, by the WebDriver protocol of Debian's chromium-driver."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import tempfile
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


class Browser:
    """A window with one page."""

    def __init__(self, port: int, profile: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {
            "args": [
                "--headless=new",
                "--no-sandbox",  # as root Chromium wants none of its own
                "--proxy-server=http://127.0.0.1:9",  # nobody listens there: all that a page fetched would fail
                "--force-device-scale-factor=1",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--user-data-dir={profile}",
            ],
            "binary": "/usr/bin/chromium",
        }
        asked = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self._base += f"/session/{session['sessionId']}"

    def _call(self, method: str, path: str, content: t.Any = None) -> t.Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{method} {path}: {json.load(exc)['value']['message']}") from exc

    def open(self, page: Path, *, width: int, height: int) -> None:
        self._call("POST", "/window/rect", {"width": width, "height": height})
        # The window's frame counts; what the page sees is asked for once more.
        inner = self.run("return [window.innerWidth, window.innerHeight]")
        self._call("POST", "/window/rect", {"width": 2 * width - inner[0], "height": 2 * height - inner[1]})
        self._call("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: t.Any) -> t.Any:
        """A script's result; it runs past the page's own policy, which lets none in."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> list[str]:
        found = self._call("POST", "/elements", {"using": "css selector", "value": selector})
        return [each[_ELEMENT] for each in found]

    def role(self, element: str) -> str:
        return str(self._call("GET", f"/element/{element}/computedrole"))

    def label(self, element: str) -> str:
        return str(self._call("GET", f"/element/{element}/computedlabel"))

    def active(self) -> str:
        return str(self._call("GET", "/element/active")[_ELEMENT])

    def press(self, *keys: str) -> None:
        """Keys pressed in a row, wherever the focus is."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def picture(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """What the browser has said of the page: failed requests, broken policies, errors."""
        return [str(entry["message"]) for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call("DELETE", "")


@contextlib.contextmanager
def browser() -> t.Iterator[Browser]:
    """A browser for the block."""
    with tempfile.TemporaryDirectory(prefix="flotilla-browser-") as folder:
        driver = subprocess.Popen(
            ["/usr/bin/chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            made = Browser(_port(driver), folder)
            try:
                yield made
            finally:
                made.close()
        finally:
            driver.terminate()
            driver.wait(30)


def _port(driver: subprocess.Popen[str]) -> int:
    """It says on which port it listens, once it does."""
    said = []
    for line in driver.stdout or ():
        said.append(line)
        if "started successfully on port" in line:
            return int(line.rstrip().rstrip(".").rpartition(" ")[2])
    raise AssertionError(f"chromedriver does not start: {''.join(said)}")
