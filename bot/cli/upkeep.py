"""longtake doctor, check, backup, pin: what keeps a studio in order."""

import argparse
import sys
from importlib.metadata import version

from bot.cli import display
from bot.cli.exits import EXIT_FAILED, answer, say
from bot.cli.filming import settings
from bot.cli.surroundings import ask_engine
from bot.discord.settings import DiscordSettings
from bot.discord.token import state_of
from bot.doctor import findings
from bot.figures import figure_rows
from bot.studio import Studio
from planner.settings import PlannerSettings
from storage.backup import backup
from storage.check import Check
from storage.settings import read_settings

Options = argparse.Namespace


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
        "planner": planner.llm_shown if studio.model else "rules",
        "data": f"{chosen.data_dir.resolve()}, {chosen.disk.free_gib:.1f} GiB free",
        "workers": ", ".join(studio.workers.alive()) or "none (one is started when a film is asked for)",
        **figure_rows(studio.figures()),
        "discord": state_of(read_settings(DiscordSettings)),
    }
    found = findings(studio)
    if options.json:
        answer({**facts, "ready": ready, "findings": [{"text": one.text, "grave": one.grave} for one in found]})
    else:
        display.facts(facts)
        display.findings(found)
    return 0 if ready and not any(one.grave for one in found) else EXIT_FAILED


def pin(options: Options) -> int:
    """Keep a take's video, or no longer."""
    takes = Studio(settings()).takes
    (takes.pin if options.command == "pin" else takes.unpin)(options.take)
    take = takes.get(options.take)
    if options.json:
        return answer({"take": take.id, "pinned": take.pinned})
    return say(f"Take {take.id} stays." if take.pinned else f"Take {take.id} may be removed when room is needed.")


def back_up(options: Options) -> int:
    """Copy everything that is kept."""
    studio = Studio(settings())
    made = backup(studio.database, studio.media, options.folder)
    if options.json:
        return answer({"folder": str(options.folder), "takes": made.takes, "files": made.files,
                       "missing": [*made.missing]})  # fmt: skip
    gone = f" Not there: {len(made.missing)}; evicted, or see longtake check." if made.missing else ""
    return say(f"{options.folder} holds takes: {made.takes}, files: {made.files}.{gone}")


def check(options: Options) -> int:
    """Read every file of the media store, and say what is wrong with it."""
    studio = Studio(settings())
    store = Check(studio.database, studio.media)
    with display.counting("checking", quiet=options.json) as on_file:
        report = store.whole(on_file)
    aside, strays = store.repair(report, studio.forget) if options.repair else ((), 0)
    if options.json:
        answer({
            "files": report.files, "damaged": [*report.damaged], "strays": [*report.strays],
            "missing": [{"owner": owner, "file": media} for owner, media in report.missing],
            "set_aside": [str(path) for path in aside], "removed": strays,
        })  # fmt: skip
    else:
        display.report(report, aside, strays)
    return 0 if report.sound else EXIT_FAILED
