"""What can be typed. Commands are imported when they run, so that `longtake --help` answers at once."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

MOST_REPEATS = 25
EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130
Command = Callable[[str, str], argparse.ArgumentParser]  # name and text; it can print JSON
Plain = Callable[..., argparse.ArgumentParser]
LARGEST = 2**63 - 1  # of what the database counts with


class Parser(argparse.ArgumentParser):
    """Argument errors are one sentence, as every other error."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        print(f"{self.prog}: {message}. See {self.prog} --help.", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        from bot.cli.commands import run  # imported here: half a second that --help does not need

        return run(options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(prog="longtake", description="Films a story as one unbroken shot.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
        return added

    _films(command)
    _lists(command)
    _engine(command, commands.add_parser)
    _bot(command, commands.add_parser)
    _upkeep(command)
    return top


def _films(command: Command) -> None:
    """From a story to a film."""
    _make(command)
    _continue(command)
    _again(command)
    _plan(command)
    _talk(command)


def _make(command: Command) -> None:
    make = command("make", "film a story that starts from a picture")
    _story(make)
    _pictures(make)
    make.add_argument("--black", action="store_true", help="start from black; it is picture 1")
    _anchors(make)
    _guide(make)
    _numbers(make)
    _loras(make)
    _timing(make)
    _several(make)
    make.add_argument(
        "--pairs", choices=["all", "matched"],
        help="a film for each picture and line of the story: of all pairs, or of those side by side",
    )  # fmt: skip
    _output(make)


def _continue(command: Command) -> None:
    further = command("continue", "film on, after the channel's last take, another take, or a video file")
    _story(further)
    _pictures(further)
    _anchors(further)
    _guide(further)
    _numbers(further)
    _loras(further)
    _timing(further)
    _several(further)
    source = further.add_mutually_exclusive_group()
    source.add_argument("--take", type=_number, metavar="N", help="the take to continue (default: the channel's last)")
    source.add_argument("--video", type=Path, metavar="FILE", help="the video file to continue")
    further.add_argument(
        "--keep-frames", type=int, metavar="N", help="of --video, at 16 fps: N the first N, -N all but the last N"
    )
    _output(further)


def _again(command: Command) -> None:
    again = command("again", "film the same plan with new seeds")
    again.add_argument("--take", type=_number, metavar="N", help="the take to film again (default: the channel's last)")
    again.add_argument("--seed", type=int, metavar="N", help="seed of the new take")
    _settings(again)
    _several(again)
    _output(again)


def _plan(command: Command) -> None:
    plan = command("plan", "show the storyboard of a story and film nothing")
    _story(plan)
    _pictures(plan)
    _numbers(plan)
    _loras(plan)
    _channel(plan)


def _talk(command: Command) -> None:
    talk = command(
        "talk", "talk with the director: it drafts, you change, “film it” films; without MESSAGE line by line"
    )
    talk.add_argument("story", type=_text, nargs="?", metavar="MESSAGE", help="one message, as you would say it")
    _pictures(talk)
    _loras(talk)
    talk.add_argument("--take", type=_number, metavar="N", help="the take that is answered")
    talk.add_argument("--preset", metavar="NAME", help="a way to film; see settings")
    _settings(talk)
    _output(talk)


def _lists(command: Command) -> None:
    """What there is, and what becomes of it."""
    _channel(command("queue", "list what waits and what is being filmed"), default=None)
    history = command("history", "list the takes of a channel, each under the one that it continues")
    _channel(history)
    cancel = command("cancel", "cancel a job")
    cancel.add_argument("job", type=_number, metavar="ID")
    show = command("show", "show a take: its plan, and what was measured at its seams; or the plan inside a video")
    show.add_argument(
        "what", type=_take_or_file, metavar="TAKE|FILE", help="a take's number, or a video that Longtake made"
    )
    command("parameters", "list everything that --set knows: name, values, default, what it does")


def _engine(command: Command, plain: Plain) -> None:
    """Workers and models."""
    worker = plain("worker", help="render jobs until it is stopped")
    worker.add_argument("--until-idle", action="store_true", help="end when the queue is empty")
    models = command("models", "list the files of the 14 B model that are here and that are missing, or get them")
    models.add_argument("action", nargs="?", choices=["get"], metavar="get", help="download what is missing")
    models.add_argument("set", nargs="?", default="svi2pro", metavar="SET", help="svi2pro, lightning or lightning-2025")
    command("loras", "list the LoRA library: names, titles, trigger words, strengths, and which model each fits")
    bench = command("bench", "examine the director on requests that ship, or the demonstration model on photographs")
    bench.add_argument("what", choices=["planner", "demo"], metavar="planner|demo", help="what is examined")
    bench.add_argument(
        "--model", metavar="MODEL", help="rules, a GGUF file or a server's address (default: as in the settings)"
    )
    bench.add_argument("--limit", type=_count, metavar="N", help="cases of each group, at most")
    bench.add_argument(
        "--group", action="append", choices=["film", "conversation", "revision", "settings", "safety"], metavar="GROUP",
        help="film, conversation, revision, settings or safety (may be repeated; default: all)",
    )  # fmt: skip
    bench.add_argument("--verbose", action="store_true", help="say what was wrong, case by case")


def _bot(command: Command, plain: Plain) -> None:
    """Discord."""
    plain("bot", help="be the bot in Discord until it is stopped")
    invite = command("invite", "print the link that lets the bot into a Discord server, with just what it needs")
    invite.add_argument("--application", type=_number, metavar="ID", help="the application (default: the token's)")


def _upkeep(command: Command) -> None:
    """What keeps a studio in order."""
    for pinned in (
        command("pin", "keep the video of a take, whatever LONGTAKE_MEDIA_GB says"),
        command("unpin", "let the video of a take go when room is needed"),
    ):
        pinned.add_argument("take", type=_number, metavar="TAKE")
    backup = command("backup", "bring a backup of everything that is kept up to now, while all goes on")
    backup.add_argument("folder", type=_folder, metavar="DIR", help="a folder of its own")
    check = command("check", "read every picture and video that is kept, and say which are damaged, missing or strays")
    check.add_argument("--repair", action="store_true", help="set damaged files aside and remove strays")
    command("doctor", "say what is installed, what will run where, and what is wrong")


def _story(command: argparse.ArgumentParser) -> None:
    command.add_argument("story", type=_text, metavar="STORY", help="what should happen, as you would say it")


def _pictures(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", dest="images",
        help="a picture; the first one starts the film, name others in the story (may be repeated)",
    )  # fmt: skip


def _numbers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seconds", type=float, metavar="N", help="length (default: what the story needs)")
    command.add_argument("--size", type=_size, metavar="WxH", help="pixels (default: the picture's aspect)")
    command.add_argument("--seed", type=int, metavar="N", help="same seed, same video (default: a new one)")
    command.add_argument(
        "--preset",
        metavar="NAME",
        help="demo, demo-fast, quality, lightning, lightning-2025, lightning-3phase or enhanced",
    )
    _settings(command)


def _settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", type=_text,
        help="any other number, see longtake parameters and docs/parameters.md (may be repeated)",
    )  # fmt: skip


def _guide(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--guide",
        type=Path,
        metavar="FILE",
        help="a video that the film follows from its first window on, continued ones included",
    )
    command.add_argument("--guide-mask", type=Path, metavar="FILE", help="white where it may leave that")


def _anchors(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--anchor", type=Path, action="append", default=[], metavar="FILE", dest="anchors",
        help="a picture for a window, from the first without a start picture on; the last one stays (may be repeated)",
    )  # fmt: skip


def _several(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--repeat", type=_repeats, default=1, metavar="N", help="that many films, each after the first with a new seed"
    )


def _loras(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--lora", type=_text, action="append", default=[], metavar="NAME[:STRENGTH]", dest="loras",
        help="a LoRA of the library, see longtake loras; none leaves out those of the film that goes on "
        "(may be repeated)",
    )  # fmt: skip


def _timing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--timing", choices=["text", "relay"],
        help="relay holds every action to its second (default: text, or as the film that is continued)",
    )  # fmt: skip


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="the video (default: longtake-TAKE.mp4 here)")
    _channel(command)


def _channel(command: argparse.ArgumentParser, default: str | None = "cli") -> None:
    command.add_argument("--channel", type=_text, default=default, metavar="NAME", help="whose history it belongs to")


def _text(value: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise argparse.ArgumentTypeError("this is no UTF-8 text")
    return value


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text) or int(text) > LARGEST:
        raise argparse.ArgumentTypeError(f"a number is needed, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not _number(text):
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return _number(text)


def _folder(text: str) -> Path:
    if not text:  # which Path takes for the folder one is in
        raise argparse.ArgumentTypeError("a folder is needed, not an empty name")
    return Path(text)


def _repeats(text: str) -> int:
    if not re.fullmatch(r"\d{1,2}", text) or not 1 <= int(text) <= MOST_REPEATS:
        raise argparse.ArgumentTypeError(f"1 to {MOST_REPEATS} are needed, not {text!r}")
    return int(text)


def _take_or_file(text: str) -> int | Path:
    """The number of a take; of a file that is called like one the path is ./7."""
    return _number(text) if text.isdecimal() else Path(text)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"a size is written like 832x480, not {text!r}")
    return int(match[1]), int(match[2])
