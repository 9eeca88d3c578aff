"""Ways to film: model, size, sampler and LoRAs under one name.

`quality` is the model as its authors set it. The Lightning presets trade motion and prompt following for speed.
"""

from dataclasses import dataclass

from planner.sigmas import euler_sigmas, linear_sigmas, unipc_sigmas
from storage.schema import Expert, Lora, Phase, Sampling, Size, Solver, Timing, UserError

DEMO_STEPS = 8  # fewer blur, and lose the snow
DEMO_FAST_STEPS = 4

# SVI 2.0 Pro is a pair of LoRAs, one for each expert, at full strength. The engine knows their files by these names.
SVI_PRO = (
    Lora(name="svi-pro-high", strength="1;0"),
    Lora(name="svi-pro-low", strength="0;1"),
)


@dataclass(frozen=True)
class Preset:
    """One way to film. `budget` gives the area of the video; its shape follows the picture."""

    name: str
    model: str
    budget: Size
    sampling: Sampling
    loras: tuple[Lora, ...] = ()
    timing: Timing = Timing.TEXT


# A model small enough for a processor, trained for few steps and without a negative prompt.
DEMO, DEMO_FAST = (
    Preset(
        name=name,
        model="demo",
        budget=Size(width=256, height=144),
        sampling=Sampling(
            solver=Solver.EULER,
            sigmas=linear_sigmas(steps, shift=5),
            phases=(Phase(expert=Expert.HIGH_NOISE, above=0.9), Phase(expert=Expert.LOW_NOISE, above=0.0)),
        ),
        timing=Timing.RELAY,  # measured: second events begin 0.08 s off, and 1.22 s off with the text alone
    )
    for name, steps in (("demo", DEMO_STEPS), ("demo-fast", DEMO_FAST_STEPS))
)

# Thirty steps as in Wan2GP; shift, guidance and the boundary of 0.9 as in Wan2.2's own configuration.
QUALITY = Preset(
    name="quality",
    model="svi2pro",
    budget=Size(width=832, height=480),
    sampling=Sampling(
        solver=Solver.UNIPC,
        sigmas=unipc_sigmas(30, shift=5),
        phases=(
            Phase(expert=Expert.HIGH_NOISE, above=0.9, guidance=3.5),
            Phase(expert=Expert.LOW_NOISE, above=0.0, guidance=3.5),
        ),
    ),
    loras=SVI_PRO,
)

# Lightning is guaranteed by its authors at these four levels alone: 1, 0.9375, 0.8333, 0.625, two for each expert.
# Their boundary is 0.9. Wan2GP's 0.876 puts the same two levels on each side; it matters for its other grid, shift 3
# from 0.999, whose second level of 0.899 lies between the two boundaries.
LIGHTNING_4 = Preset(
    name="lightning",
    model="svi2pro",
    budget=QUALITY.budget,
    sampling=Sampling(
        solver=Solver.EULER,
        sigmas=linear_sigmas(4, shift=5),
        phases=(Phase(expert=Expert.HIGH_NOISE, above=0.9), Phase(expert=Expert.LOW_NOISE, above=0.0)),
    ),
    # Half strength for the high-noise expert: at 1.0 it takes the motion that SVI's authors (comfyui.md, issue 35) and
    # their users miss; they recommend 0.5 there and 1.0 for the low-noise expert.
    loras=(*SVI_PRO, Lora(name="lightning-high", strength="0.5;0"), Lora(name="lightning-low", strength="0;1")),
)

# Wan2GP's eight-step profile for the same LoRAs: first steps with real guidance and without the high-noise LoRA bring
# the motion back. As in the profile, that LoRA is at full strength in the second phase.
LIGHTNING_3PHASE = Preset(
    name="lightning-3phase",
    model="svi2pro",
    budget=QUALITY.budget,
    sampling=Sampling(
        solver=Solver.EULER,
        sigmas=euler_sigmas(8, shift=3),
        phases=(
            Phase(expert=Expert.HIGH_NOISE, above=0.965, guidance=3.5),
            Phase(expert=Expert.HIGH_NOISE, above=0.8),
            Phase(expert=Expert.LOW_NOISE, above=0.0),
        ),
    ),
    loras=(*SVI_PRO, Lora(name="lightning-high", strength="0;1;0"), Lora(name="lightning-low", strength="0;0;1")),
)

# Wan2GP's two-phase profile of October 2025: a high-noise LoRA that was distilled anew, at full strength, and the old
# one for the other expert. The levels are Lightning's own; the profile's grid begins at 0.999 instead of 1.
LIGHTNING_2025 = Preset(
    name="lightning-2025",
    model="svi2pro",
    budget=QUALITY.budget,
    sampling=LIGHTNING_4.sampling,
    loras=(*SVI_PRO, Lora(name="lightning-2025-high", strength="1;0"), Lora(name="lightning-low", strength="0;1")),
)

# Wan2GP's Enhanced Lightning v2: experts that were distilled themselves, so that SVI's are their only LoRAs.
ENHANCED = Preset(
    name="enhanced",
    model="svi2pro-enhanced",
    budget=QUALITY.budget,
    sampling=Sampling(
        solver=Solver.UNIPC,
        sigmas=unipc_sigmas(8, shift=5),
        phases=(Phase(expert=Expert.HIGH_NOISE, above=0.9), Phase(expert=Expert.LOW_NOISE, above=0.0)),
    ),
    loras=SVI_PRO,
)

_ALL = DEMO, DEMO_FAST, QUALITY, LIGHTNING_4, LIGHTNING_3PHASE, LIGHTNING_2025, ENHANCED
PRESETS = {preset.name: preset for preset in _ALL}


def find_preset(name: str) -> Preset:
    """The preset of a name; a UserError names those there are."""
    if name not in PRESETS:
        raise UserError(f"There is no preset {name}: choose {', '.join(PRESETS)}.")
    return PRESETS[name]
