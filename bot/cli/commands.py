"""What the commands do: arguments to a use case of the studio, and its answer to the terminal."""

import argparse
import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from bot.cli import display
from bot.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USER_ERROR, answer, complain, say
from bot.cli.filming import again, make, plan_with, proceed, settings, wish
from bot.cli.parameters import list_parameters
from bot.cli.surroundings import ask_engine
from bot.cli.talk import converse
from bot.cli.upkeep import back_up, check, doctor, pin
from bot.crew import WorkerFailed
from bot.discord.settings import DiscordSettings
from bot.discord.token import application_of, token_of
from bot.intake import named
from bot.studio import Studio
from planner.settings import PlannerSettings
from prompts import negative_prompt
from storage import sandbox
from storage.disk import DiskFull
from storage.loras import LoraLibrary
from storage.schema import Measured, Plan, UserError
from storage.settings import read_settings
from storage.timeline import film_seconds

Options = argparse.Namespace
Answered = TypeVar("Answered")


def run(options: Options) -> int:
    """Run the command that was typed; returns the exit code. What a person can mend is one sentence."""
    try:
        return COMMANDS[options.command](options)
    except UserError as error:
        return complain(str(error), EXIT_USER_ERROR)
    except WorkerFailed as error:
        return complain(str(error), EXIT_FAILED)
    except sqlite3.DatabaseError as error:
        return complain(f"The database cannot be used: {error}.", EXIT_USER_ERROR)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except DiskFull as error:
        return complain(str(error), EXIT_FAILED)
    except BrokenPipeError:  # who reads our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return complain(f"{error.filename} cannot be used: {error.strerror}.", EXIT_USER_ERROR)


# ---- the commands ---------------------------------------------------------------------------------------------------


def plan(options: Options) -> int:
    """Show a storyboard."""
    _, (told, prompts, notes) = plan_with(options, lambda studio, say: studio.sketch(wish(options), say))
    if not options.json:
        display.notes(notes)
        display.storyboard(told, prompts)
        return 0
    windows: list[JsonValue] = [
        {
            "prompt": prompt,
            "negative": negative_prompt(),
            "anchor": window.anchor,
            "camera": window.camera,
            "beats": [beat.model_dump() for beat in window.beats],
        }
        for window, prompt in zip(told.windows, prompts, strict=True)
    ]
    return answer({"title": told.title, "seconds": film_seconds(len(windows)), "windows": windows, "notes": [*notes]})


def queue(options: Options) -> int:
    """List jobs that wait or are being filmed."""
    studio = Studio(settings())
    placed = studio.jobs.placed(options.channel)
    if options.json:
        return answer({"jobs": [job.model_dump(mode="json") for job, _ in placed]})
    display.queue(placed)
    return 0


def history(options: Options) -> int:
    """List takes."""
    tree = Studio(settings()).takes.tree(options.channel)
    if options.json:
        return answer({"takes": [take.model_dump(mode="json") for _, take in tree]})
    display.history(tree, options.channel)
    return 0


def cancel(options: Options) -> int:
    """Cancel a job."""
    job = Studio(settings()).cancel(options.job)
    return answer({"job": job.id, "state": job.state}) if options.json else say(f"Job {job.id} is cancelled.")


def show(options: Options) -> int:
    """Show a take with what was measured of it, or the plan inside a video."""
    measured: tuple[Measured, ...] = ()
    if isinstance(options.what, int):
        take = Studio(settings()).takes.get(options.what)
        made, frames, measured = take.plan, take.film.frames, take.film.measured
    else:
        made, frames = plan_inside(options.what)
    if options.json:
        rows: list[JsonValue] = [row.model_dump(mode="json") for row in measured]
        return answer({"frames": frames, "plan": made.model_dump(mode="json"), "measured": rows})
    display.plan(made, frames)
    display.measured(measured)
    return 0


def worker(options: Options) -> int:
    """Become a worker. It is a program of its own: this process is replaced by it."""
    idle = ["--until-idle"] if options.until_idle else []
    os.execv(sys.executable, [sys.executable, "-m", "engine", "work", *idle])


def models(options: Options) -> int:
    """List the files of the 14 B model, or download them."""
    if options.action == "get":
        os.execv(sys.executable, [sys.executable, "-m", "engine", "get", options.set])
    listed = ask_engine("models")
    if options.json:
        return answer(listed)
    display.models(listed)
    return 0


def loras(options: Options) -> int:
    """List the LoRA library, and which models each LoRA fits."""
    library = LoraLibrary(settings().lora_dir)
    entries = library.entries()
    examined = ask_engine("loras") if entries else {}
    if options.json:
        told: list[JsonValue] = [
            {"name": lora.name, **lora.sheet.model_dump(mode="json"), "fault": lora.fault, **examined[lora.name]}
            for lora in entries
        ]
        return answer({"folder": str(library.folder), "loras": told})
    display.loras(library, entries, examined)
    return 0


def bot(_: Options) -> int:
    """Be the bot in Discord."""
    from bot.discord.run import run_bot  # here: only the bot needs the library

    run_bot(read_settings(DiscordSettings), read_settings(PlannerSettings))
    return 0


def invite(options: Options) -> int:
    """Print the link that lets the bot into a server."""
    from bot.discord.invite import invitation

    application = options.application or application_of(token_of(read_settings(DiscordSettings)))
    assert application is not None, "a token names its application"
    link = invitation(application)
    return answer({"link": link}) if options.json else say(link)


def examine(options: Options) -> int:
    """Examine the director or the model that ships."""
    from bot.cli.bench import bench  # here: only this command reads the cases

    figures = bench(options)
    return answer(figures) if options.json else 0


def talk(options: Options) -> int:
    """Talk with the director: one message, or as many as are typed."""
    studio = Studio(settings(), read_settings(PlannerSettings))
    messages = [options.story] if options.story is not None else display.typed("you> ")
    return asyncio.run(converse(studio, messages, wish(options), options))


# ---- what they share ------------------------------------------------------------------------------------------------


def plan_inside(video: Path) -> tuple[Plan, int]:
    """The plan that `video` was filmed from, and its frames."""
    with named(video):
        facts, comment = sandbox.probe(video)
    try:
        return Plan.model_validate_json(comment or ""), facts.frames
    except ValidationError as error:
        raise UserError(f"{video} holds no plan: Longtake did not make it, or it was encoded anew.") from error


COMMANDS = {
    "make": make,
    "continue": proceed,
    "again": again,
    "plan": plan,
    "talk": talk,
    "parameters": list_parameters,
    "queue": queue,
    "history": history,
    "cancel": cancel,
    "show": show,
    "worker": worker,
    "models": models,
    "loras": loras,
    "bench": examine,
    "bot": bot,
    "invite": invite,
    "doctor": doctor,
    "pin": pin,
    "unpin": pin,
    "backup": back_up,
    "check": check,
}
