"""The engine as a process: `work` renders jobs, `follow` predicts along with one that does, on another GPU; `facts`,
`models` and `loras` say what is here, `get` downloads."""

import argparse
import json
import os
import signal
import socket
import sys
from contextlib import closing
from dataclasses import asdict

import torch
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from engine.checkpoints.find import OPTIONAL, Part, find_models
from engine.device import choose_device, choose_dtype, other_devices
from engine.hub import Download, get
from engine.kernels import keep_compiled
from engine.loras.library import examine
from engine.models import ModelShelf, expert_sizes
from engine.settings import EngineSettings
from engine.team.follow import Loads, follow
from engine.team.lead import Lead
from engine.team.orders import Join
from engine.worker import Worker
from storage.database import Database
from storage.disk import GIB, DiskFull
from storage.logs import log_to
from storage.loras import LoraLibrary
from storage.schema import UserError
from storage.settings import read_settings


def main() -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="longtake worker", description="Renders jobs until it is stopped.")
    commands = parser.add_subparsers(dest="command", required=True)
    work_command = commands.add_parser("work")
    work_command.add_argument("--until-idle", action="store_true", help="end when the queue is empty")
    work_command.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    commands.add_parser("follow")
    commands.add_parser("facts")
    commands.add_parser("models")
    commands.add_parser("loras")
    get_command = commands.add_parser("get")
    get_command.add_argument("name")
    options = parser.parse_args()
    if options.command == "follow":
        follow(loads_as_told)
    try:
        settings = read_settings(EngineSettings)
        match options.command:
            case "work":
                work(settings, options.name, until_idle=options.until_idle)
            case "facts":
                sys.stdout.write(json.dumps(facts(settings)) + "\n")
            case "models":
                sys.stdout.write(json.dumps(models(settings)) + "\n")
            case "loras":
                sys.stdout.write(json.dumps(loras(settings)) + "\n")
            case "get":
                download(settings, options.name)
    except UserError as error:
        sys.stderr.write(f"longtake: {error}\n")
        return 2
    except DiskFull as error:
        sys.stderr.write(f"longtake: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def work(settings: EngineSettings, name: str, *, until_idle: bool) -> None:
    """Work until SIGTERM or SIGINT, which end it after the current step; the job goes back to the queue."""
    log_to(form=settings.log)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    keep_compiled(settings.kernels)
    device = choose_device(settings)
    dtype = choose_dtype(settings, device)
    others = other_devices(settings, device)
    with Database.open(settings.database) as database, closing(Lead(settings, device, others)) as lead:
        shelf = ModelShelf(settings, device, dtype, lead if others else None)
        worker = Worker(settings, database, shelf, name)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stopping.set())
        worker.work(until_idle=until_idle)


def loads_as_told(join: Join) -> Loads:
    """How a follower loads experts: with its leader's settings, on its own device."""
    settings, device = join.settings, torch.device(join.device)
    log_to(form=settings.log)
    keep_compiled(settings.kernels)
    return ModelShelf(settings, device, choose_dtype(settings, device)).load_experts


def facts(settings: EngineSettings) -> dict[str, str | list[str]]:
    """What this machine would run: versions, device, precision and the models that are found."""
    device = choose_device(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    dtype = choose_dtype(settings, device)
    shelf = ModelShelf(settings, device, dtype)
    memory = f"{torch.cuda.get_device_properties(device).total_memory / GIB:.0f} GiB" if device.type == "cuda" else ""
    names = [str(device), torch.cuda.get_device_name(device), memory] if memory else [str(device)]
    others = [f"and {other}" for other in other_devices(settings, device)]
    return {
        "torch": torch.__version__,
        "device": " ".join([*names, *others]),
        "precision": settings.precision if "fp8" in settings.precision else str(dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
        "models": shelf.installed(),
    }


def models(settings: EngineSettings) -> dict[str, dict[str, str] | list[str]]:
    """What of the 14 B model lies in the models folder, what is missing, and what cannot be used and why."""
    found = find_models(settings.models_dir)
    return {
        "found": {part: f"{piece.path} ({piece.format})" for part, piece in found.pieces.items()},
        "missing": [*found.missing],
        "optional": [part for part in Part if part in OPTIONAL and part not in found.pieces],
        "unusable": [f"{file.path}: {file.reason}" for file in found.unusable],
    }


def loras(settings: EngineSettings) -> dict[str, dict[str, object]]:
    """The LoRAs of the library by name: which models each fits, and what becomes of its keys."""
    fits = examine(LoraLibrary(settings.lora_dir), expert_sizes(settings.models_dir))
    return {name: asdict(fit) for name, fit in fits.items()}


def download(settings: EngineSettings, name: str) -> None:
    """Download what is missing of a set, behind a progress bar."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn()
    with ProgressBar(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task(name, total=None)

        def on_progress(progress: Download) -> None:
            doing = "checking " if progress.checking else ""
            bar.update(task, description=doing + progress.file, completed=progress.done_bytes)
            bar.update(task, total=progress.total_bytes)

        files = get(name, settings.models_dir, on_progress)
    for file in files:
        sys.stdout.write(f"{file}\n")
    sys.stdout.write(f"{name} is complete in {settings.models_dir}.\n")


if __name__ == "__main__":
    sys.exit(main())
