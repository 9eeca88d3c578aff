"""What the processes of tests/mortal.py run, read once, before any of them is forked."""

import os

import discord_server  # noqa: F401
import mortal  # noqa: F401

import bot.cli.commands
import bot.discord.run  # noqa: F401

if "engine" in os.environ.get("MORTALS", ""):
    from transformers import UMT5Config, UMT5EncoderModel  # noqa: F401

    import engine.__main__
    import engine.worker  # noqa: F401
