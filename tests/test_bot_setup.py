"""What the owner of a bot meets first: the token, the invitation, the check-up, the log."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import discord
import pytest
from discord_server import TOKEN

from bot.discord.lock import alone
from bot.discord.settings import DiscordSettings
from bot.discord.token import application_of, state_of, token_of
from storage.logs import HIDDEN, log_to
from storage.schema import UserError

LONGTAKE = Path(sys.executable).parent / "longtake"
INTERACTION = "aW50ZXJhY3Rpb246MTIzNDU2Nzg5MDEyMzQ1Njc4OkFiQ2RFZkdoSWpLbE1uT3BRclN0VXZXeFl6MDEyMzQ1Njc4OQ"


def settings(**more: object) -> DiscordSettings:
    return DiscordSettings(_env_file=None, **more)  # type: ignore[call-arg]


def test_a_token_names_its_application_and_nothing_else_is_taken_for_one():
    assert application_of(TOKEN) == 123456789012345678
    for wrong in ("", "hunter2", TOKEN.replace(".", ""), "bm8gbnVtYmVyIGF0IGFsbCE.GaBcDe." + "a" * 38, TOKEN + " x"):
        assert application_of(wrong) is None


def test_a_token_comes_from_a_file_or_a_setting_and_its_lack_is_one_sentence(tmp_path: Path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert token_of(settings(discord_token_file=str(tmp_path / "token"))) == TOKEN
    assert token_of(settings(discord_token=TOKEN)) == TOKEN
    with pytest.raises(UserError, match="needs a token"):
        token_of(settings())
    with pytest.raises(UserError, match="cannot be read: No such file"):
        token_of(settings(discord_token_file=str(tmp_path / "none")))


def test_the_check_up_says_whether_there_is_a_token_and_never_the_token():
    assert "no token" in state_of(settings())
    assert "no bot token" in state_of(settings(discord_token="hunter2"))
    assert "application 123456789012345678" in state_of(settings(discord_token=TOKEN))
    assert TOKEN not in state_of(settings(discord_token=TOKEN))


def test_the_invitation_asks_for_exactly_what_is_needed(tmp_path: Path):
    command = [LONGTAKE, "invite", "--application", "42", "--json"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    link = json.loads(made.stdout)["link"]
    assert "client_id=42" in link
    assert "scope=bot+applications.commands" in link
    asked = {name for name, wanted in discord.Permissions(int(re.findall(r"permissions=(\d+)", link)[0])) if wanted}
    assert asked == {
        "read_messages", "send_messages", "send_messages_in_threads", "attach_files", "embed_links", "add_reactions",
        "read_message_history",
    }  # fmt: skip


def test_a_folder_has_one_bot_and_is_free_again_when_that_ends(tmp_path: Path):
    with alone(tmp_path), pytest.raises(UserError, match="already: end that one first"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    log_to(stream, secrets=("a secret of ours",))
    yield stream
    root.handlers[:], root.level = before, level


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bot {TOKEN}",
        f"POST https://discord.com/api/v10/webhooks/900/{INTERACTION} has returned status code 404",
        f"POST https://discord.com/api/v10/interactions/123456789012345678/{INTERACTION}/callback",
        f"PATCH /webhooks/900/{INTERACTION}/messages/@original",
        f"{{'op': 2, 'd': {{'token': '{TOKEN}', 'intents': 13825}}}}",
        "this is a secret of ours",
    ],
)
def test_no_token_reaches_the_log_neither_in_a_line_nor_in_a_traceback(line: str, written: io.StringIO):
    log = logging.getLogger("discord.http")
    log.info("%s", line)
    try:
        raise ValueError(line)
    except ValueError:
        log.exception("failed")
    text = written.getvalue()
    assert text.count(HIDDEN) >= 2
    for secret in (TOKEN, INTERACTION, "a secret of ours"):
        assert secret not in text


def test_addresses_of_attachments_lose_their_signature_and_keep_their_name(written: io.StringIO):
    address = "https://cdn.discordapp.com/attachments/1/2/dog.png"
    logging.getLogger("x").info("got %s?ex=6ab1&is=6aaf&hm=00ff00ff& and take %d of card %d", address, 12, 34)
    text = written.getvalue()
    assert f"{address}?" in text
    assert "take 12 of card 34" in text
    assert not re.search(r"(ex|is|hm)=[0-9a-f]", text)
