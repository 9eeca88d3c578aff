"""A headless Chromium, driven over its DevTools protocol: enough to load a page and to photograph a part of it."""

import asyncio
import base64
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
WAIT_SECONDS = 30


class NoBrowser(Exception):
    """There is none on this machine; the text says how to get one."""


@dataclass
class Page:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        number = next(self._ids)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await self.socket.receive_json()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    async def value(self, script: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def open(self, url: str, ready: str) -> None:
        """Load an address anew, and wait until an expression is true."""
        await self.call("Page.navigate", url="about:blank")
        await self.call("Page.navigate", url=url)
        for _ in range(WAIT_SECONDS * 10):
            if await self.value(f"Boolean({ready})"):
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"{ready} did not come true")

    async def photograph(self, box: dict[str, float]) -> bytes:
        """A part of the page as a PNG."""
        shot = await self.call("Page.captureScreenshot", format="png", clip={**box, "scale": 1})
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def chromium(width: int, height: int, scale: float) -> AsyncIterator[Page]:
    """A browser with one tab of this size in CSS pixels, each `scale` real ones. NoBrowser if none is installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise NoBrowser("The screenshots need Chromium: apt-get install chromium-headless-shell fonts-noto-color-emoji")
    with tempfile.TemporaryDirectory(prefix="longtake-browser-") as folder:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as http:
                async with http.get(f"http://127.0.0.1:{port}/json") as answer:
                    tab = next(tab for tab in await answer.json() if tab["type"] == "page")
                async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.call(
                        "Emulation.setDeviceMetricsOverride",
                        width=width,
                        height=height,
                        deviceScaleFactor=scale,
                        mobile=False,
                    )
                    yield page
        finally:
            process.kill()
            await process.wait()


async def _port(file: Path) -> int:
    for _ in range(WAIT_SECONDS * 10):
        if file.is_file() and (lines := file.read_text().split()):
            return int(lines[0])
        await asyncio.sleep(0.1)
    raise TimeoutError("Chromium did not start")
