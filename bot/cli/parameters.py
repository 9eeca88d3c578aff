"""longtake parameters: everything that --set knows."""

import argparse

from pydantic import JsonValue
from rich.table import Table

from bot.cli import display
from bot.cli.exits import answer
from planner.parameters import Parameter, parameters


def list_parameters(options: argparse.Namespace) -> int:
    """List what may be set by name."""
    if options.json:
        return answer({"parameters": [facts(each) for each in parameters()]})
    table = Table("name", "value", "default", "what it does", box=None, pad_edge=False)
    for each in parameters():
        unit = f" ({each.term.unit})" if each.term.unit else ""
        table.add_row(each.name, each.allowed, each.default, f"{each.term.does}{unit}")
    display.stdout.print(table)
    return 0


def facts(parameter: Parameter) -> dict[str, JsonValue]:
    """A parameter for scripts."""
    term = parameter.term
    return {
        "name": parameter.name,
        "type": parameter.kind,
        "default": parameter.default,
        "range": parameter.limits,
        "unit": term.unit,
        "does": term.does,
        "also": [*term.also],
    }
