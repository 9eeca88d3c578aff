import re
from pathlib import Path

from bot.discord.settings import DiscordSettings
from bot.settings import BotSettings
from engine.settings import EngineSettings
from planner.settings import PlannerSettings

ROOT = Path(__file__).parent.parent
KINDS = (DiscordSettings, PlannerSettings, EngineSettings)  # each of the bot's settings is one of Discord's as well


def test_every_setting_and_no_other_is_named_in_env_example_with_its_default():
    text = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^(LONGTAKE_\w+)=(.*)$", text, re.MULTILINE))
    assert named.keys() == {f"LONGTAKE_{name.upper()}" for kind in KINDS for name in kind.model_fields}
    for kind in KINDS:
        written, default = kind(_env_file=ROOT / ".env.example"), kind(_env_file=None)
        assert written == default


def test_settings_come_from_variables_and_from_a_dotenv_file_that_names_all(tmp_path: Path, monkeypatch):
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text().replace("MAX_SECONDS=120", "MAX_SECONDS=33"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAKE_MAX_STORY", "77")
    assert BotSettings().max_seconds == 33
    assert BotSettings().max_story == 77
    assert EngineSettings().device == "auto"
