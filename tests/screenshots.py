"""Photographs every state of a card, and a take, as Discord shows them: `make screenshots`.

The pages are SimCord's preview of the messages that the real bot sends; the browser is Chromium.
"""

import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import discord
from browser import NoBrowser, Page, chromium
from card_states import states
from discord_world import World, world
from PIL import Image

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
WIDTH, HEIGHT, SCALE = 600, 1400, 1.5
MOST_BYTES = 60_000
READY = "window.simcordPreview?.ready"
BOX = """(() => {
    const boxes = [...document.querySelectorAll('#focused-content .discord-message, #focused-content > *')]
        .map(element => element.getBoundingClientRect()).filter(box => box.width && box.height);
    const x = Math.min(...boxes.map(box => box.x)), y = Math.min(...boxes.map(box => box.y));
    const right = Math.max(...boxes.map(box => box.right)), bottom = Math.max(...boxes.map(box => box.bottom));
    const width = right - x + 2 * MARGIN, height = bottom - y + 2 * MARGIN;
    return JSON.stringify({x: x - MARGIN, y: y - MARGIN, width, height});
})()""".replace("MARGIN", "8")  # CSS pixels


async def photograph(page: Page, w: World, name: str, message: discord.Message) -> Path:
    """One message as a small file."""
    shape = {"display": "fixed", "width": WIDTH, "height": HEIGHT, "presentation_time": datetime.now(UTC)}
    async with w.env.preview(w.channel, viewers=[w.ann], **shape) as preview:
        await preview.show(message)
        await page.open(preview.url, READY)
        box = json.loads(await page.value(BOX))
        shot = Image.open(BytesIO(await page.photograph(box)))
    file = FOLDER / f"{name}.webp"
    for quality in (80, 70, 60, 50):
        shot.convert("RGB").save(file, "WEBP", quality=quality, method=6)
        if file.stat().st_size <= MOST_BYTES:
            return file
    sys.exit(f"{file} has {file.stat().st_size} bytes; {MOST_BYTES} at most.")


async def main() -> None:
    """All of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium(WIDTH, HEIGHT, SCALE) as page, world(Path(folder)) as w:
            w.env.backend.bot_user.name = "Longtake"
            async for name, message in states(w):
                print(await photograph(page, w, name, message))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except NoBrowser as error:
        sys.exit(str(error))
