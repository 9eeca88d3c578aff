"""The worker process: `python -m engine work`, and `python -m engine facts` for what this machine can run."""

import argparse
import json
import logging
import os
import signal
import socket
import sys

import torch
from pydantic import ValidationError

from engine.device import choose_device, choose_dtype
from engine.models import ModelShelf
from engine.settings import EngineSettings
from engine.worker import Worker
from storage.database import Database


def main() -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="longtake worker", description="Renders jobs until it is stopped.")
    commands = parser.add_subparsers(dest="command", required=True)
    work_command = commands.add_parser("work")
    work_command.add_argument("--until-idle", action="store_true", help="end when the queue is empty")
    work_command.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    commands.add_parser("facts")
    options = parser.parse_args()
    try:
        settings = EngineSettings()
    except ValidationError as error:
        wrong = error.errors()[0]
        sys.stderr.write(f"The setting LONGTAKE_{str(wrong['loc'][0]).upper()} is wrong: {wrong['msg']}.\n")
        return 2
    if options.command == "facts":
        sys.stdout.write(json.dumps(facts(settings)) + "\n")
        return 0
    work(settings, options.name, until_idle=options.until_idle)
    return 0


def work(settings: EngineSettings, name: str, *, until_idle: bool) -> None:
    """Work until SIGTERM or SIGINT, which end it after the current step; the job goes back to the queue."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings)
    shelf = ModelShelf(settings, device, choose_dtype(settings, device))
    with Database.open(settings.database) as database:
        worker = Worker(settings, database, shelf, name)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stopping.set())
        worker.work(until_idle=until_idle)


def facts(settings: EngineSettings) -> dict[str, str | list[str]]:
    """What this machine would run: versions, device, precision and the models that are found."""
    device = choose_device(settings)
    shelf = ModelShelf(settings, device, choose_dtype(settings, device))
    memory = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB" if device.type == "cuda" else ""
    return {
        "torch": torch.__version__,
        "device": " ".join([str(device), torch.cuda.get_device_name(device), memory]) if memory else str(device),
        "precision": str(choose_dtype(settings, device)).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
        "models": shelf.installed(),
    }


if __name__ == "__main__":
    sys.exit(main())
