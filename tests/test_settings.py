import re
from pathlib import Path

from pydantic import TypeAdapter

from bot.discord.settings import DiscordSettings
from bot.settings import BotSettings
from engine.settings import EngineSettings
from planner.settings import PlannerSettings

ROOT = Path(__file__).parent.parent
SETTINGS = DiscordSettings.model_fields | PlannerSettings.model_fields | EngineSettings.model_fields


def test_every_setting_and_no_other_is_named_in_env_example_with_its_default():
    text = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^(LONGTAKE_\w+)=(.*)$", text, re.MULTILINE))
    assert len(named) == len(re.findall(r"^LONGTAKE_", text, re.MULTILINE)), "each is named once"
    assert named.keys() == {f"LONGTAKE_{name.upper()}" for name in SETTINGS}
    for name, field in SETTINGS.items():
        read = TypeAdapter(field.annotation).validate_python(named[f"LONGTAKE_{name.upper()}"])
        assert read == field.default, name


def test_settings_come_from_variables_and_from_a_dotenv_file_that_names_all(tmp_path: Path, monkeypatch):
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text().replace("MAX_SECONDS=120", "MAX_SECONDS=33"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAKE_MAX_STORY", "77")
    assert BotSettings().max_seconds == 33
    assert BotSettings().max_story == 77
    assert EngineSettings().device == "auto"
