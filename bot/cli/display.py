"""Answers as text for a terminal. What a script reads goes to stdout, everything else to stderr."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from bot.doctor import Finding
from bot.progress import progress_text
from planner.parameters import written
from planner.tuning import extras_of
from storage.check import Report
from storage.loras import LibraryLora, LoraLibrary
from storage.renders import preview_file
from storage.schema import Job, Measured, Plan, Storyboard, Take
from storage.timeline import FPS, film_time, shown_seconds

BAR_STEPS = 1000

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def notes(lines: Iterable[str]) -> None:
    """What the person should know before the film."""
    for line in lines:
        stderr.print(escape(line), style="dim")


def note(text: str) -> None:
    """A remark while something long goes on."""
    stderr.print(text, style="dim", markup=False, soft_wrap=True)


def plain(text: str) -> None:
    """A text as it is, however wide."""
    print(text)


def lines(said: Iterable[str]) -> None:
    """An answer to a person."""
    for line in said:
        stdout.print(line, markup=False, soft_wrap=True)


@contextmanager
def planning(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line that says what the director is doing, while it does, where the terminal allows one."""
    if quiet or not stderr.is_terminal:
        yield lambda _: None
        return
    with stderr.status("planning …") as status:
        yield lambda what: status.update(escape(what))


def typed(prompt: str) -> Iterator[str]:
    """What is typed, line by line, until the end of the input."""
    while True:
        try:
            line = stdout.input(prompt) if sys.stdin.isatty() else next(sys.stdin)
        except (EOFError, StopIteration):
            return
        if line.strip():
            yield line.strip()


def watch(jobs: Iterator[Job], place_of: Callable[[int], int | None], renders: Path, *, quiet: bool) -> Job:
    """Show a job until it has ended, as a live bar where the terminal allows one; returns it as it ended.

    renders: the work folders of jobs; where the window under way can be seen there, that is said, once.
    """
    hidden = quiet or not stderr.is_terminal
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), console=stderr, transient=True, disable=hidden
    )
    pointed = False
    with bar:
        task = bar.add_task("waiting", total=BAR_STEPS)
        for job in jobs:
            if (
                not (hidden or pointed)
                and job.progress
                and preview_file(renders, job.id, job.progress.window).is_file()
            ):
                note(f"Windows are seen while they take shape in {preview_file(renders, job.id, job.progress.window)}.")
                pointed = True
            done = job.progress.fraction if job.progress else 0.0
            bar.update(task, description=progress_text(job, place_of(job.id)), completed=done * BAR_STEPS)
    return job


def storyboard(told: Storyboard, prompts: Iterable[str], first_window: int = 1, discarded: int = 0) -> None:
    """Window by window: what happens at which second of the film, and what the network reads."""
    stdout.print(f"[bold]{escape(told.title)}[/bold]")
    for number, (window, prompt) in enumerate(zip(told.windows, prompts, strict=True), first_window):
        shown_from, _ = shown_seconds(number, discarded)
        stdout.print(f"\n[bold]Window {number}[/bold], from {shown_from:.2f} s")
        for beat in window.beats:
            time = film_time(number, beat.seconds, discarded)
            stdout.print(f"  {time:5.2f} s  {escape(beat.action)}", soft_wrap=True)
        if window.camera:
            stdout.print(f"  camera   {escape(window.camera)}")
        if window.anchor:
            stdout.print(f"  anchor   picture {window.anchor}")
        stdout.print(f"  [dim]{escape(prompt)}[/dim]", soft_wrap=True)


def queue(placed: Iterable[tuple[Job, int | None]]) -> None:
    """What is being filmed and what waits, each with its place among the latter."""
    table = _table("job", "channel", "by", "state", "film")
    for job, place in placed:
        where = progress_text(job, place)
        cells = job.errand.channel, job.errand.requester, where, job.plan.storyboard.title
        table.add_row(str(job.id), *map(escape, cells))
    stdout.print(table if table.row_count else "Nothing is queued.")


def history(tree: Iterable[tuple[int, Take]], channel: str) -> None:
    """The takes of a channel, each under the one that it continues."""
    table = _table("take", "length", "windows", "seed", "film")
    for depth, take in tree:
        again = f" (again, of {take.errand.again_of})" if take.errand.again_of else ""
        mark = "★ " if take.pinned else ""
        gone = " (video removed)" if take.evicted else ""
        name = "  " * depth + mark + escape(take.plan.storyboard.title) + again + gone
        windows = f"{take.windows} of {take.windows + take.missing_windows}" if take.missing_windows else take.windows
        table.add_row(str(take.id), f"{take.film.seconds:.2f} s", str(windows), str(take.plan.seed), name)
    stdout.print(table if table.row_count else f"There is no take in {escape(channel)} yet.")


def planned(made: Plan) -> None:
    """The storyboard of a plan, and what the network reads of it."""
    storyboard(made.storyboard, [w.prompt for w in made.windows], made.first_window, made.discard_frames)


def plan(made: Plan, frames: int) -> None:
    """The plan inside a video."""
    sampling = made.sampling
    planned(made)
    table = _table("", "")
    table.show_header = False
    rows = {
        "length": f"{frames / FPS:.2f} s, {frames} frames",
        "size": str(made.size),
        "model": made.model,
        "seed": f"{made.seed} (windows: {', '.join(str(window.seed) for window in made.windows)})",
        "solver": f"{sampling.solver}, {sampling.steps} steps",
        "sigmas": ", ".join(f"{sigma:.4f}" for sigma in sampling.sigmas),
        "guidance": ", ".join(f"{phase.expert} {phase.guidance:g}" for phase in sampling.phases),
        "LoRAs": ", ".join(f"{lora.name} {lora.strength}" for lora in made.loras) or "none",
        "source": made.source.kind,
        **({"set": written(extras)} if (extras := extras_of(made)) else {}),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    stdout.print()
    stdout.print(table)


def measured(windows: Sequence[Measured]) -> None:
    """How well each window goes on from the one before, and how far the colours have gone from those of the first."""
    if not windows:
        return
    table = _table("window", "seam, PSNR", "seam, colour", "drift")
    for row in windows:
        seam = (f"{row.seam.psnr:.1f} dB", f"{row.seam.colour:.2f}") if row.seam else ("", "")
        table.add_row(str(row.window), *seam, f"{row.drift:.2f}")
    stdout.print()
    stdout.print(table)
    stdout.print("[dim]colour and drift: distances in CIE Lab; 2.3 is just to be seen[/dim]")


def models(listed: dict[str, Any]) -> None:
    """What lies in the models folder, part by part."""
    rows: dict[str, str] = dict(listed["found"])
    rows |= dict.fromkeys(listed["missing"], "MISSING")
    rows |= dict.fromkeys(listed["optional"], "not here, and not needed")
    facts(rows)
    for line in listed["unusable"]:
        stdout.print(f"cannot be used: {line}", markup=False)
    if listed["missing"]:
        stdout.print("\nlongtake models get svi2pro downloads what is missing.")


def findings(found: Iterable[Finding]) -> None:
    """What is wrong, one a line; "nothing" in so many words."""
    lines = [f"{'!' if one.grave else '-'} {one.text}" for one in found] or ["Nothing is wrong."]
    stdout.print()
    for line in lines:
        stdout.print(line, markup=False, soft_wrap=True)


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A line that counts, where the terminal allows one."""
    if quiet or not stderr.is_terminal:
        yield lambda _, __: None
        return
    with stderr.status(what) as status:
        yield lambda done, of: status.update(f"{what} {done} of {of}")


def report(found: Report, aside: Iterable[Path], strays: int) -> None:
    """What is wrong with the media store, and what was mended."""
    rows = [f"damaged: {media}" for media in found.damaged]
    rows += [f"missing: {media}, which {owner} needs" for owner, media in found.missing]
    rows += [f"set aside: {path}" for path in aside]
    rows += [f"{strays} strays were removed."] if strays else [f"stray: {media}" for media in found.strays]
    for row in rows:
        stdout.print(row, markup=False, soft_wrap=True)
    stdout.print(f"{found.files} files, {len(found.damaged)} damaged, {len(found.missing)} missing.")


def loras(library: LoraLibrary, entries: Sequence[LibraryLora], examined: dict[str, Any]) -> None:
    """The LoRA library: each by name, and what is wrong with it."""
    table = _table("name", "title", "fits", "expert", "strength", "trigger words")
    for lora in entries:
        fits = ", ".join(examined[lora.name]["fits"]) or "NO MODEL"
        sheet = lora.sheet
        words = ", ".join(sheet.triggers)
        cells = lora.name, sheet.title, fits, sheet.expert or "both", sheet.strength_of(None), words
        table.add_row(*map(escape, cells))
    if not entries:
        plain(f"The LoRA library {library.folder} is empty: put NAME.safetensors there, and NAME.json beside it.")
        return
    stdout.print(table)
    for lora in entries:
        for line in filter(None, (lora.sheet.description, lora.fault, examined[lora.name]["keys"])):
            stdout.print(f"{lora.name}: {line}", markup=False, soft_wrap=True)


def facts(rows: dict[str, str]) -> None:
    """Names and values, one a line."""
    table = _table("", "")
    table.show_header = False
    for name, value in rows.items():
        table.add_row(name, escape(value))
    stdout.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
