"""The velocity of one window: which expert predicts, for which text, and what guidance makes of it.

Legend: B batch (1), T latent frames, h w latent height and width, S text slots. Latents are [B, 16, T, h, w].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.condition import network_input
from engine.dit import NAG, DiT, TextContext
from engine.guidance import Momentum, apg, cfg, cfg_star, phase_at
from engine.loras.by_step import StepLoras
from engine.magcache import Branch, MagCache, Turn
from engine.streaming import Pool
from engine.team.team import Team, Way
from storage.schema import Expert, GuidanceRule, Phase, Sampling


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What predicts a plan's windows, on one device."""

    experts: Mapping[Expert, DiT]
    device: torch.device
    step_loras: Mapping[Expert, StepLoras] = field(default_factory=dict)
    pool: Pool | None = None  # in which the experts' blocks take turns, where they do not all stay on the device


@dataclass(frozen=True)
class Scene:
    """What one window is predicted from. given: the condition, [B, 20, T, h, w]; texts as the encoder left them,
    [1, S, text width], the negative one where it is looked at; bias: of the positive one's beats, [T, S]"""

    given: Tensor
    positive: Tensor
    negative: Tensor | None = None
    bias: Tensor | None = None


@dataclass
class WindowVelocity:
    """The velocity of one window, for any sampler. What it remembers (texts, momenta, cache) dies with the window.

    However often it is asked within a step, it is the same step: `go_on` says when the next one begins. Of a `team`,
    each process has one of its own, and all are asked the same.
    """

    scene: Scene
    sampling: Sampling
    networks: Networks
    cache: MagCache | None = None
    step: int = 0  # of the plan's, from 0
    team: Team | None = None
    texts: dict[tuple[Expert, Branch, tuple[float, ...]], TextContext] = field(default_factory=dict)
    momenta: dict[Expert, Momentum] = field(default_factory=dict)  # as the step began
    new_momenta: dict[Expert, Momentum] = field(default_factory=dict)

    def go_on(self, step: int) -> None:
        """What is asked from now on belongs to step number `step`."""
        self.step = step
        self.momenta |= self.new_momenta

    @property
    def rests(self) -> bool:
        """Whether nothing is predicted at this step: CFG-Zero, as in its paper; Wan2GP's overwrites these zeros."""
        return self.step < self.sampling.zero_steps

    def way(self, latents: Tensor, sigma: Tensor) -> Way:
        """How the team shares an evaluation. latents: [B, 16, T, h, w], sigma: [B]"""
        if self.team is None or self.rests:
            return Way.ALONE
        phase = phase_at(self.sampling.phases, float(sigma[0]))
        if phase.guidance != 1 and self.team.size == len(Branch):
            return Way.BRANCHES
        network, by_frame = self.networks.experts[phase.expert], self.scene.bias is not None
        even = network.shared_evenly(latents.shape, self.team.size, by_frame=by_frame)
        return Way.TOKENS if even else Way.ALONE

    def velocity(self, latents: Tensor, sigma: Tensor, way: Way = Way.ALONE) -> Tensor:
        """One evaluation of the step. latents: [B, 16, T, h, w], sigma: [B] -> [B, 16, T, h, w]"""
        if self.rests:
            return torch.zeros_like(latents)
        phase = phase_at(self.sampling.phases, float(sigma[0]))
        predictions = self.predictions(latents, sigma, way)
        return predictions[0] if phase.guidance == 1 else self._combined(phase, *predictions)

    def predictions(self, latents: Tensor, sigma: Tensor, way: Way = Way.ALONE) -> tuple[Tensor, ...]:
        """The velocity for the positive text, and with guidance the one for the negative. Shapes as `velocity`."""
        phase = phase_at(self.sampling.phases, float(sigma[0]))
        inputs = network_input(latents, self.scene.given)
        self.networks.experts[phase.expert].share(self.team if way is Way.TOKENS else None)
        if way is Way.BRANCHES and self.team is not None:
            mine = self._predicted(phase, Branch(self.team.rank), inputs, sigma, by_tokens=False)
            return tuple(self.team.each(mine))
        branches = tuple(Branch)[: 1 if phase.guidance == 1 else 2]
        return tuple(self._predicted(phase, b, inputs, sigma, by_tokens=way is Way.TOKENS) for b in branches)

    def _predicted(self, phase: Phase, branch: Branch, inputs: Tensor, sigma: Tensor, *, by_tokens: bool) -> Tensor:
        network, sampling = self.networks.experts[phase.expert], self.sampling
        step_loras = self.networks.step_loras.get(phase.expert)
        strengths = step_loras.use(self.step) if step_loras else ()
        text, nag = self._text(phase.expert, branch, strengths), None
        left_out: tuple[int, ...] = ()
        if branch is Branch.POSITIVE:
            if self.scene.bias is not None:
                text = text.with_bias(self.scene.bias)
            if sampling.nag is not None:
                text = text.with_negative(self._text(phase.expert, Branch.NEGATIVE, strengths))
                nag = NAG(**sampling.nag.model_dump())
        elif (skipped := sampling.skip_layers) and skipped.covers(self.step, sampling.steps):
            left_out = skipped.blocks
        if self.cache is not None:
            turn = Turn(self.step, branch, phase.expert, strengths, left_out, by_tokens)
            return self.cache.predict(network, turn, inputs, sigma, text, nag)
        velocity: Tensor = network(inputs, sigma, text, left_out, nag)
        return velocity

    def _text(self, expert: Expert, branch: Branch, strengths: tuple[float, ...]) -> TextContext:
        key = expert, branch, strengths
        if key not in self.texts:
            embeddings = self.scene.positive if branch is Branch.POSITIVE else self.scene.negative
            assert embeddings is not None, "a sampling that looks at it needs it"
            self.texts[key] = self.networks.experts[expert].encode_text(embeddings)
        return self.texts[key]

    def _combined(self, phase: Phase, positive: Tensor, negative: Tensor) -> Tensor:
        match self.sampling.rule:
            case GuidanceRule.CFG:
                return cfg(positive, negative, phase.guidance)
            case GuidanceRule.CFG_STAR:
                return cfg_star(positive, negative, phase.guidance)
            case GuidanceRule.APG:
                momentum = self.momenta.get(phase.expert, Momentum())
                velocity, self.new_momenta[phase.expert] = apg(positive, negative, phase.guidance, momentum)
                return velocity
