"""longtake bench: how good the director is, and the model that ships, on sets that come with Longtake."""

import argparse
import asyncio
import os
import statistics
import sys

from pydantic import JsonValue

from bot.cli import display
from planner.agent import ModelReader, Reader, RuleReader
from planner.bench.cases import load_cases
from planner.bench.measure import table
from planner.bench.run import GROUPS, Examination, Meter
from planner.brief import Storyboarder
from planner.rules import RuleDirector
from planner.settings import PlannerSettings, language_model
from planner.writer import ModelDirector
from storage.settings import read_settings

FAILED = 1


def bench(options: argparse.Namespace) -> dict[str, JsonValue]:
    """Examine the director; returns the figures. The demonstration model is examined by the engine, in its process."""
    if options.what == "demo":
        os.execv(sys.executable, [sys.executable, "-m", "engine.demo.evaluate"])
    settings = read_settings(PlannerSettings)
    if options.model is not None:
        settings = settings.model_copy(update={"llm": "" if options.model == "rules" else options.model})
    return asyncio.run(_examine(settings, options))


async def _examine(settings: PlannerSettings, options: argparse.Namespace) -> dict[str, JsonValue]:
    model = language_model(settings)
    meter = Meter(model) if model else None
    storyboarder: Storyboarder = ModelDirector(meter, settings.llm_seconds) if meter else RuleDirector()
    reader: Reader = ModelReader(meter) if meter else RuleReader()
    quiet = options.json or not options.verbose
    examination = Examination(storyboarder, reader, load_cases(), (lambda _: None) if quiet else display.note)
    try:
        await examination.run(options.limit, tuple(options.group or GROUPS))
    finally:
        if meter:
            await meter.close()
    if not options.json:
        display.plain(table(examination.scores))
    figures: dict[str, JsonValue] = {"director": meter.name if meter else "rules"}
    for name, seconds in examination.seconds.items():
        score = examination.scores[name]
        figures[name] = {
            "cases": score.cases,
            "valid": score.valid.value,
            "events": score.events.value,
            "order": score.order.value,
            "mean time error": score.mean_time_error,
            "anchors": score.anchors.value,
            "words": score.words.value,
            "unchanged": score.unchanged.value,
            "intent": score.intent.value,
            "settings": score.settings.value,
            "seconds": {"median": statistics.median(seconds), "most": max(seconds)},
        }
    if meter:
        figures["tokens"] = {"read": meter.tokens_read, "written": meter.tokens_written, "questions": meter.questions}
    if not options.json:
        every = [second for seconds in examination.seconds.values() for second in seconds]
        display.plain(f"seconds a case: median {statistics.median(every):.4f}, most {max(every):.4f}")
        if meter:
            display.plain(
                f"{meter.questions} questions, {meter.tokens_read} tokens read, {meter.tokens_written} written"
            )
    return figures
