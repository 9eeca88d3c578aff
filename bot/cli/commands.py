"""What the commands do: arguments to a use case of the studio, and its answer to the terminal."""

import argparse
import asyncio
import getpass
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue, ValidationError

from bot.cli import display
from bot.crew import WorkerFailed
from bot.intake import named
from bot.progress import clock
from bot.settings import BotSettings
from bot.studio import Proposal, Reply, Studio, Wish
from planner.brief import OnPlanning
from planner.compiler import compile_prompt
from planner.settings import PlannerSettings
from prompts import negative_prompt
from storage.footage import probe, read_comment
from storage.schema import Job, JobState, Plan, UserError
from storage.settings import read_settings
from storage.timeline import film_seconds

Options = argparse.Namespace
PICTURE_FILES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff")
Answered = TypeVar("Answered")

EXIT_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 130


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
    except BrokenPipeError:  # who reads our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return complain(f"{error.filename} cannot be used: {error.strerror}.", EXIT_USER_ERROR)


# ---- the commands ---------------------------------------------------------------------------------------------------


def make(options: Options) -> int:
    """Film a story."""
    studio, proposal = plan_with(options, lambda studio, say: studio.film(wish(options), say))
    return film(studio, proposal, options)


def proceed(options: Options) -> int:
    """Film on."""
    studio, proposal = plan_with(options, lambda studio, say: studio.proceed(wish(options), say))
    return film(studio, proposal, options)


def again(options: Options) -> int:
    """Film a plan again."""
    studio, proposal = plan_with(options, lambda studio, _: studio.again(wish(options)))
    return film(studio, proposal, options)


def plan(options: Options) -> int:
    """Show a storyboard."""
    _, (told, notes) = plan_with(options, lambda studio, say: studio.sketch(wish(options), say))
    prompts = [compile_prompt(window) for window in told.windows]
    if not options.json:
        display.notes(notes)
        display.storyboard(told.title, told, prompts, first_window=1)
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


def talk(options: Options) -> int:
    """Talk with the director: one message, or as many as are typed."""
    studio = Studio(settings(), read_settings(PlannerSettings))
    messages = [options.story] if options.story is not None else display.typed("you> ")
    return asyncio.run(converse(studio, messages, options))


def queue(options: Options) -> int:
    """List jobs that wait or are being filmed."""
    studio = Studio(settings())
    jobs = studio.jobs.queue(options.channel)
    if options.json:
        return answer({"jobs": [job.model_dump(mode="json") for job in jobs]})
    display.queue(jobs, {job.id: studio.jobs.position(job.id) for job in jobs})
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
    """Show the plan inside a video."""
    with named(options.file):
        comment, frames = read_comment(options.file), probe(options.file).frames
    try:
        made = Plan.model_validate_json(comment or "")
    except ValidationError as error:
        raise UserError(f"{options.file} holds no plan: Longtake did not make it, or it was encoded anew.") from error
    if options.json:
        return answer({"frames": frames, "plan": made.model_dump(mode="json")})
    display.plan(made, frames)
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


def doctor(options: Options) -> int:
    """Say what is here."""
    chosen = settings()
    planner = read_settings(PlannerSettings)
    studio = Studio(chosen, planner)
    engine = ask_engine("facts")
    model = studio.preset.model
    ready = bool({model, f"{model} (untrained)"} & set(engine["models"]))
    facts = {
        "longtake": version("longtake"),
        "python": sys.version.split()[0],
        "torch": engine["torch"],
        "runs on": f"{engine['device']}, {engine['threads']} threads, {engine['precision']}",
        "models": ", ".join(engine["models"]) or "none",
        "preset": f"{chosen.preset}: model {model}, {'ready' if ready else 'NOT INSTALLED'}",
        "planner": f"{planner.llm}" if studio.model else "rules",
        "data": f"{chosen.data_dir.resolve()}, {shutil.disk_usage(chosen.data_dir).free / 2**30:.1f} GiB free",
        "workers": ", ".join(studio.workers.alive()) or "none (one is started when a film is asked for)",
        "queue": str(len(studio.jobs.queue())),
    }
    if options.json:
        answer({**facts, "ready": ready})
    else:
        display.facts(facts)
    return 0 if ready else EXIT_FAILED


def examine(options: Options) -> int:
    """Examine the director or the model that ships."""
    from bot.cli.bench import bench  # here: only this command reads the cases

    figures = bench(options)
    return answer(figures) if options.json else 0


# ---- what they share ------------------------------------------------------------------------------------------------


def plan_with(options: Options, ask: Callable[[Studio, OnPlanning], Awaitable[Answered]]) -> tuple[Studio, Answered]:
    """The studio, and what its director answers. A language model's process ends with the question."""
    studio = Studio(settings(), read_settings(PlannerSettings))

    async def answered() -> Answered:
        async with studio:
            with display.planning(quiet=options.json or studio.model is None) as say:
                return await ask(studio, say)

    return studio, asyncio.run(answered())


async def converse(studio: Studio, messages: Iterable[str], options: Options) -> int:
    """One turn after the other. A turn that fails says so, and the conversation goes on."""
    code = 0
    async with studio:
        for message in messages:
            try:
                pictures, text = pictures_in(message)
                asked = replace(wish(options), text=text, images=(*options.images, *pictures))
                options.images = []
                with display.planning(quiet=options.json or studio.model is None) as say:
                    reply = await studio.talk(asked, say)
                code = show_reply(studio, reply, options)
            except UserError as error:
                code = complain(str(error), EXIT_USER_ERROR)
    return code


def show_reply(studio: Studio, reply: Reply, options: Options) -> int:
    """Sentences, then the draft to look at, or the film as it is made."""
    if options.json:
        board = reply.draft.plan.storyboard.model_dump(mode="json") if reply.draft else None
        answer({"lines": [*reply.lines], "draft": board, "job": reply.job.id if reply.job else None})
    else:
        display.lines(reply.lines)
    if reply.draft and not options.json:
        plan = reply.draft.plan
        prompts = [window.prompt for window in plan.windows]
        display.storyboard(plan.storyboard.title, plan.storyboard, prompts, plan.first_window)
        say("\nSay “film it”, or what should be different.")
    return deliver(studio, reply.job, (), options) if reply.job else 0


def pictures_in(message: str) -> tuple[list[Path], str]:
    """Files of pictures that a message names, as a terminal pastes them, and the message without them."""
    named = [word for word in message.split() if Path(word.strip("'\"")).suffix.lower() in PICTURE_FILES]
    pictures = [Path(word.strip("'\"")) for word in named]
    there = {word for word, path in zip(named, pictures, strict=True) if path.is_file()}
    return [path for path in pictures if path.is_file()], " ".join(w for w in message.split(" ") if w not in there)


def film(studio: Studio, proposal: Proposal, options: Options) -> int:
    """Queue a plan, watch it being filmed, and leave the video where it was asked for."""
    if options.out:
        require_free(options.out, [*getattr(options, "images", []), getattr(options, "video", None)])
    if not options.json:
        display.notes(proposal.notes)
    return deliver(studio, studio.submit(proposal), proposal.notes, options)


def deliver(studio: Studio, job: Job, notes: Sequence[str], options: Options) -> int:
    """Watch a job being filmed, and leave the video where it was asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        job = display.watch(studio.watch(job.id), studio.jobs.position, quiet=options.json)
    except KeyboardInterrupt:
        if studio.jobs.get(job.id).state is not JobState.DONE:
            studio.cancel(job.id)
            return complain(f"Job {job.id} is cancelled.", EXIT_INTERRUPTED)
        job = studio.jobs.get(job.id)
    except WorkerFailed as error:
        return complain(f"{error} Job {job.id} waits for a worker.", EXIT_FAILED)
    if job.state is not JobState.DONE or job.take is None:
        return complain(f"Job {job.id} {job.state}" + (f": {job.error}" if job.error else "."), EXIT_FAILED)
    take = studio.takes.get(job.take)
    video = options.out or free_name(f"longtake-{take.id}")
    try:
        copy_whole(studio.media.path(take.film.video), video)
    except OSError as error:
        return complain(f"Take {take.id} is kept, but {video} cannot be written: {error.strerror}.", EXIT_FAILED)
    if options.json:
        return answer(
            {
                "video": str(video),
                "take": take.id,
                "frames": take.film.frames,
                "seconds_taken": round(take.film.render_seconds, 3),
                "seed": take.plan.seed,
                "trained": take.film.trained,
                "notes": [*notes],
            }
        )
    untrained = "" if take.film.trained else " The model is untrained: expect shapeless colours."
    seconds, windows = take.film.render_seconds, len(take.plan.windows)
    took = f"{clock(seconds)}, {seconds / windows:.1f} s a window"
    return say(f"Take {take.id}: {video}, {take.film.seconds:.2f} s, filmed in {took}.{untrained}")


def require_free(out: Path, inputs: Sequence[Path | None]) -> None:
    """Refuse, before anything is filmed, a place at which no video may be put."""
    if out.exists() and not out.is_file():
        raise UserError(f"The video cannot be written to {out}: it is no file.")
    if any(path is not None and path.exists() and out.exists() and out.samefile(path) for path in inputs):
        raise UserError(f"The video would take the place of {out}, which it is made from.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe_file = out.with_name(f".{out.name}.partial")
        probe_file.touch()
        probe_file.unlink()
    except OSError as error:
        raise UserError(f"The video cannot be written to {out}: {error.strerror}.") from error


def free_name(stem: str) -> Path:
    """A file name that is not taken here."""
    names = chain([f"{stem}.mp4"], (f"{stem}-{number}.mp4" for number in count(2)))
    return next(Path(name) for name in names if not Path(name).exists())


def copy_whole(source: Path, out: Path) -> None:
    """Copy a file so that `out` is whole or as it was."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def wish(options: Options) -> Wish:
    """What was typed, as the studio takes it."""
    given = {name: value for name, value in vars(options).items() if name in Wish.__dataclass_fields__}
    return Wish(text=getattr(options, "story", None) or "", requester=getpass.getuser(), **given)


def ask_engine(question: str) -> dict[str, Any]:
    """What the engine says. Only it may import torch, so it is asked in a process of its own."""
    asked = subprocess.run([sys.executable, "-m", "engine", question], capture_output=True, text=True, check=False)
    if asked.returncode:
        last_line = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkerFailed(f"The engine does not start: {last_line}")
    said: dict[str, Any] = json.loads(asked.stdout)
    return said


def settings() -> BotSettings:
    """The settings of this folder."""
    return read_settings(BotSettings)


def answer(value: dict[str, JsonValue]) -> int:
    """One JSON object for a script."""
    print(json.dumps(value, ensure_ascii=False))
    return 0


def say(text: str) -> int:
    """One sentence for a person."""
    print(text)
    return 0


def complain(text: str, code: int) -> int:
    """One sentence on what is wrong."""
    print(f"longtake: {text}", file=sys.stderr)
    return code


COMMANDS = {
    "make": make,
    "continue": proceed,
    "again": again,
    "plan": plan,
    "talk": talk,
    "queue": queue,
    "history": history,
    "cancel": cancel,
    "show": show,
    "worker": worker,
    "models": models,
    "bench": examine,
    "doctor": doctor,
}
