"""The bot in a channel: what people say, press and react with, and what they see. Discord's rules are SimCord's."""

from pathlib import Path

import pytest
from discord_world import texts_of, world

pytestmark = pytest.mark.asyncio


async def test_from_a_photo_to_a_film_to_its_continuation(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.say(w.ann, "5 s of my dog, he runs to the sea at 2 seconds", w.photo)
        card = w.messages[-1]
        assert "Plan" in texts_of(card)
        pressed = await w.ann.click(card, label="Film it")
        assert pressed.ephemeral
        assert len(w.studio.jobs.queue()) == 1
        take = await w.filmed()
        shown = w.messages[-1]
        assert [a.filename for a in shown.attachments] == ["take-1.mp4"]
        assert w.studio.takes.by_message(str(shown.id)) == take

        await w.say(w.bob, "now he meets a crab", reply_to=shown)
        await w.bob.click(w.messages[-1], label="Film it")
        second = await w.filmed()
        assert second.errand.parent == take.id
        assert second.plan.source.kind == "take"

        await w.bob.react(w.messages[-1], "🔁")
        third = await w.filmed()
        assert (third.errand.parent, third.errand.again_of) == (take.id, second.id)
        assert third.plan.seed != second.plan.seed
