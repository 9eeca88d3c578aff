"""Settings of the Discord bot."""

from typing import Annotated

from pydantic import Field, SecretStr

from bot.settings import BotSettings, HttpSettings


class DiscordSettings(BotSettings, HttpSettings):
    """What the owner of the bot decides; what the owners of a server decide is a Policy."""

    discord_token: SecretStr = SecretStr("")
    discord_token_file: str = ""  # read instead, for who keeps secrets in files
    discord_approve: bool = True  # where a server or a person says nothing: a plan is shown before it is filmed
    discord_message_content: bool = False  # the privileged intent: replies with their ping off are then heard too
    discord_guilds: str = ""  # ids of the servers that may use the bot, with commas between; empty: all
    discord_server_queue: Annotated[int, Field(ge=0)] = 50  # films of one server that wait; 0: as many as they like
    discord_server_minutes: Annotated[float, Field(ge=0)] = 0.0  # of film for one server in 24 hours; 0: any
    discord_upload_mib: Annotated[float, Field(ge=1, le=500)] = 9.5  # of a video, where Discord names no limit
    discord_picture_mib: Annotated[float, Field(ge=1, le=100)] = 20.0  # of one picture that is sent to us
    discord_edit_seconds: Annotated[float, Field(ge=0.2, le=60)] = 4.0  # at least, between two edits of one card
    discord_catch_up: Annotated[int, Field(ge=0, le=200)] = 50  # messages a channel that are looked through after a gap
    workers: Annotated[int, Field(ge=0, le=1)] = 1  # started by the bot; 0: they are started by hand

    @property
    def servers(self) -> frozenset[int]:
        """The servers that may use the bot; none named means all."""
        return frozenset(int(part) for part in self.discord_guilds.split(",") if part.strip())
