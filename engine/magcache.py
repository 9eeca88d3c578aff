"""MagCache: skip the blocks at steps where what they add has hardly changed, and add what they added before.

What the blocks add to the tokens, the residual, keeps its direction from step to step and shrinks by a ratio that was
measured once for each step of a model. The ratios tell how wrong an old residual would be, before anything is computed:
below a threshold it serves again, at most twice in a row; the threshold is the one that comes nearest to a speed.

As in Wan2GP's models/wan/modules/model.py and its measured list for Wan2.2 I2V, with three differences. There both
experts share one residual, so that the second one begins with what the first one's blocks added, as if nothing had
happened; here a residual serves only the expert that made it, and an expert's first step is always computed. Nor does
it serve a step with other LoRA strengths, other skipped layers, or another window: a MagCache lives for one window. And
there SVI 2.0 Pro gets the ratios of Wan2.1, which know of no second expert. A step that is noised anew and repeated
(engine/refiner.py) is computed, whatever was known of it: a residual holds the noise that it was made from. So is a
step that a team (engine/team/team.py) shares by tokens where the one before was not, or the other way round.

    B batch, L tokens, D width of the network. A residual is [B, L, D] in float32: 0.67 GB a branch for the 14 B model
    at 832x480. The ratios are those of the 14 B model; nobody measured the demo's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from torch import Tensor

from engine.dit import NAG, DiT, TextContext
from engine.loras.strengths import phase_numbers
from storage.schema import Expert, Sampling

MOST_SKIPS = 2  # in a row
THRESHOLDS = tuple(hundredth / 100 for hundredth in range(1, 61))

# Length of the residual over its length a step before, for the positive and the negative text; the dip is the change of
# experts. Of 40 steps; before the first one there is nothing to compare with.
I2V_A14B_RATIOS = (
    (0.99191, 0.99144), (0.99356, 0.99337), (0.99326, 0.99285), (0.99251, 0.99264), (0.99393, 0.99366),
    (0.9943, 0.9943), (0.99276, 0.99288), (0.99389, 0.99393), (0.99274, 0.99289), (0.99316, 0.9931),
    (0.99379, 0.99377), (0.99268, 0.99271), (0.99222, 0.99227), (0.99175, 0.9916), (0.91076, 0.91046),
    (0.98931, 0.98933), (0.99087, 0.99088), (0.98852, 0.98855), (0.98895, 0.98896), (0.98806, 0.98808),
    (0.9871, 0.98711), (0.98613, 0.98618), (0.98434, 0.98435), (0.983, 0.98307), (0.98185, 0.98187),
    (0.98131, 0.98131), (0.9783, 0.97835), (0.97619, 0.9762), (0.97264, 0.9727), (0.97088, 0.97098),
    (0.96568, 0.9658), (0.96045, 0.96055), (0.95322, 0.95335), (0.94579, 0.94594), (0.93297, 0.93311),
    (0.91699, 0.9172), (0.89174, 0.89202), (0.8541, 0.85446), (0.79823, 0.79902),
)  # fmt: skip


class Branch(IntEnum):
    """Which text is predicted for; the number is its place in a pair of ratios."""

    POSITIVE = 0
    NEGATIVE = 1


def resampled(pairs: Sequence[tuple[float, float]], steps: int) -> tuple[tuple[float, float], ...]:
    """The pairs of ratios of `steps` steps, each that of the nearest measured step. `pairs` begin with the second step.

    >>> resampled([(0.9, 0.8), (0.7, 0.6)], 5)
    ((1.0, 1.0), (1.0, 1.0), (0.9, 0.8), (0.7, 0.6), (0.7, 0.6))
    """
    measured = ((1.0, 1.0), *pairs)
    if steps == 1:
        return measured[-1:]
    scale = (len(measured) - 1) / (steps - 1)
    return tuple(measured[round(step * scale)] for step in range(steps))


@dataclass(frozen=True)
class Drift:
    """How far the true residual has gone from the one that is kept."""

    ratio: float = 1.0  # of their lengths
    steps: int = 0
    error: float = 0.0  # of all steps together

    def after(self, ratio: float) -> "Drift":
        """The drift one step later."""
        total = self.ratio * ratio
        return Drift(total, self.steps + 1, self.error + abs(1 - total))

    def bearable(self, threshold: float) -> bool:
        """Whether the kept residual may serve at this step."""
        return self.error < threshold and self.steps <= MOST_SKIPS


def computed_steps(ratios: Sequence[float], threshold: float, always: Collection[int]) -> tuple[bool, ...]:
    """Which steps are computed, of a branch with these ratios; those in `always`, counted from 0, are in any case."""
    drift, computed = Drift(), []
    for step, ratio in enumerate(ratios):
        drift = drift.after(ratio)
        computed.append(step in always or not drift.bearable(threshold))
        if computed[-1]:
            drift = Drift()
    return tuple(computed)


def threshold_for(speed: float, ratios: Sequence[float], always: Collection[int]) -> float:
    """The threshold in 0.01, 0.02 ... 0.60 that leaves about 1 / `speed` of the steps to compute.

    The search ends where it begins to lead away; of equally good thresholds the lowest is taken.
    """
    wanted = int(len(ratios) / speed)
    best, smallest = THRESHOLDS[0], len(ratios) + 1
    for threshold in THRESHOLDS:
        difference = abs(wanted - sum(computed_steps(ratios, threshold, always)))
        if difference > smallest:
            break
        if difference < smallest:
            best, smallest = threshold, difference
    return best


@dataclass(frozen=True)
class Turn:
    """One prediction: its step, from 0, and all that must be the same for a residual to serve again."""

    step: int
    branch: Branch
    expert: Expert
    strengths: tuple[float, ...] = ()  # of the LoRAs that vary
    skip_blocks: tuple[int, ...] = ()
    by_tokens: bool = False  # a team shares it, so each process has the residual of its own tokens

    @property
    def before(self) -> "Turn":
        """The same, one step earlier."""
        return replace(self, step=self.step - 1)


@dataclass(frozen=True)
class Memory:
    """What a branch remembers of its last turn."""

    turn: Turn
    drift: Drift
    residual: Tensor  # [B, L, D]


@dataclass
class MagCache:
    """Predicts as the network does, or nearly so and faster. It belongs to one window."""

    ratios: Sequence[tuple[float, float]]  # of each step
    threshold: float
    always_until: int = 0  # the last of the first steps that are all computed
    memories: dict[Branch, Memory] = field(default_factory=dict)

    @classmethod
    def of(cls, sampling: Sampling, first_step: int = 0) -> "MagCache | None":
        """A fresh one, with the threshold for the speed that `sampling` asks for; None where it asks for none.

        Steps before `first_step` are not taken.
        """
        settings = sampling.magcache
        if settings is None:
            return None
        ratios = resampled(I2V_A14B_RATIOS, sampling.steps)
        always_until = max(first_step, int(settings.start * sampling.steps))
        experts = [sampling.phases[number].expert for number in phase_numbers(sampling)]
        changes = {step for step in range(1, sampling.steps) if experts[step] is not experts[step - 1]}
        always = changes.union(range(always_until + 1))
        positive = [pair[Branch.POSITIVE] for pair in ratios]
        return cls(ratios, threshold_for(settings.speed, positive, always), always_until)

    def predict(
        self, network: DiT, turn: Turn, inputs: Tensor, sigma: Tensor, text: TextContext, nag: NAG | None = None
    ) -> Tensor:
        """Velocity. inputs: [B, in_dim, T, H, W], sigma: [B] in [0, 1] -> [B, out_dim, T, H, W] float32

        Where the blocks run, this is network(...) bit for bit.
        """
        embedded = network.embed(inputs, sigma)
        memory = self._remembered(turn)
        if memory is None:
            self.memories.pop(turn.branch, None)  # its memory is free while the blocks run
            tokens = network.run_blocks(embedded, text, turn.skip_blocks, nag)
            memory = Memory(turn, Drift(), tokens - embedded.tokens)
        else:
            tokens = embedded.tokens + memory.residual
        self.memories[turn.branch] = memory
        return network.unpatch(tokens, embedded.time, inputs.shape)

    def _remembered(self, turn: Turn) -> Memory | None:
        """The branch's memory as of this turn; None if it may not serve."""
        memory = self.memories.get(turn.branch)
        if memory is None or memory.turn != turn.before or turn.step <= self.always_until:
            return None
        drift = memory.drift.after(self.ratios[turn.step][turn.branch])
        return Memory(turn, drift, memory.residual) if drift.bearable(self.threshold) else None
