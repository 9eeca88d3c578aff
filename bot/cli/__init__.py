"""The command line: translates arguments to a request, and answers back to text or JSON."""

from bot.cli.main import main

__all__ = ["main"]
