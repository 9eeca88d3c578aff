"""How strong each LoRA is at each step, from one line of text.

    0.8                  one LoRA, the same at every step
    1;0 0;1              two LoRAs: the first in the first phase only, the second in the second phase only
    0.9,0.8;1.2          a list is spread evenly over the steps of its phase, without ";" over all steps

Spaces, line ends and "|" part the LoRAs, lines that begin with "#" say nothing, and LoRAs without a value run at 1. As
in Wan2GP's loras_mutipliers.py.
"""

import math
from collections.abc import Sequence

from engine.guidance import phase_at
from engine.samplers import shown_levels
from storage.schema import Expert, Sampling, UserError


def strengths_by_step(text: str, loras: int, sampling: Sampling) -> tuple[tuple[float, ...], ...]:
    """One row for each LoRA, one number for each step."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    entries = " ".join(lines).replace("|", " ").split()
    if len(entries) > loras:
        raise UserError(f"There are {len(entries)} LoRA strengths ({' '.join(entries)}) for {loras} LoRAs.")
    missing = ["1"] * (loras - len(entries))
    return tuple(_row(entry, sampling) for entry in (*entries, *missing))


def strength_while(expert: Expert, row: Sequence[float], sampling: Sampling) -> float | None:
    """The one strength of a LoRA while `expert` predicts, so that it can be merged; None where it varies.

    An expert that never predicts has strength 0.
    """
    phases = [sampling.phases[number] for number in phase_numbers(sampling)]
    values = {strength for strength, phase in zip(row, phases, strict=True) if phase.expert is expert}
    if len(values) > 1:
        return None
    return values.pop() if values else 0.0


def phase_numbers(sampling: Sampling) -> tuple[int, ...]:
    """Which phase is in force at each step, counted from 0."""
    levels = shown_levels(sampling.solver, sampling.sigmas)
    return tuple(sampling.phases.index(phase_at(sampling.phases, level)) for level in levels)


def _row(entry: str, sampling: Sampling) -> tuple[float, ...]:
    if ";" not in entry:
        return _spread(_numbers(entry, entry), sampling.steps)
    numbers = phase_numbers(sampling)
    row: tuple[float, ...] = ()
    for number, values in enumerate(_by_phase(entry, sampling)):
        row += _spread(_numbers(values, entry), numbers.count(number))
    return row


def _by_phase(entry: str, sampling: Sampling) -> list[str]:
    """The entry's values for each phase. Two of them, for three phases, are one for each expert."""
    values = entry.split(";")
    phases = sampling.phases
    if len(values) == 2 and len(phases) == 3:
        return [values[0], values[0 if phases[1].expert is Expert.HIGH_NOISE else 1], values[1]]
    if len(values) != len(phases):
        raise UserError(f"The LoRA strength {entry} is for {len(values)} phases, the sampling has {len(phases)}.")
    return values


def _spread(values: Sequence[float], steps: int) -> tuple[float, ...]:
    return tuple(values[step * len(values) // steps] for step in range(steps))


def _numbers(values: str, entry: str) -> list[float]:
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError as error:
        raise UserError(f"The LoRA strength {entry} is not made of numbers.") from error
    if not all(math.isfinite(number) for number in numbers):
        raise UserError(f"The LoRA strength {entry} is not finite.")
    return numbers
