"""What the processes of tests/mortal.py run, read once, before any of them is forked."""

import discord_server  # noqa: F401
import mortal  # noqa: F401
from transformers import UMT5Config, UMT5EncoderModel  # noqa: F401

import bot.cli.commands
import bot.discord.run  # noqa: F401
import engine.__main__
import engine.worker  # noqa: F401
