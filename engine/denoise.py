"""Noise -> the latents of one window: which expert predicts, for which text, and what guidance makes of it.

Legend: B batch (1), T latent frames, h w latent height and width. Latents are [B, 16, T, h, w].
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.condition import condition, network_input, window_noises, with_motion
from engine.dit import NAG, TextContext
from engine.folder import Handover
from engine.guidance import Momentum, apg, cfg, cfg_star, phase_at
from engine.guide import WindowGuide
from engine.magcache import Branch, MagCache, Turn
from engine.models import Models
from engine.refiner import refined
from engine.relay import relay_bias, segments
from engine.samplers import Step, Walk, sample
from storage.schema import Expert, GuidanceRule, Phase, Sampling, Timing, Window

OnStep = Callable[[int, Tensor], None]  # steps done, those that are left out included; the video so far, as latents


def denoise(
    window: Window,
    handover: Handover,
    sampling: Sampling,
    models: Models,
    on_step: OnStep,
    timing: Timing = Timing.TEXT,
    guide: WindowGuide | None = None,
) -> Tensor:
    """Latents of one window, from noise of its own: [B, 16, 21, h, w]. Both experts share one trajectory."""
    given = condition(handover.anchor, handover.tail)
    given = with_motion(given, sampling.motion_amplitude, continues=handover.tail is not None)
    noises = (noise.to(given) for noise in window_noises(window.seed, (*handover.anchor.shape[:2], *given.shape[2:])))
    noise = next(noises)
    bias = relay_of(window, models, given) if timing is Timing.RELAY else None
    first = guide.first_step(sampling.steps, noise.shape[2]) if guide else 0
    predicted = WindowVelocity(window, given, sampling, models, MagCache.of(sampling, first), bias, step=first)

    def around(step: Step) -> Step:
        if sampling.refiner:
            step = refined(step, sampling.refiner, noises, resting_steps=sampling.zero_steps - first)
        return guide.lead(step, noise, sampling.steps) if guide else step

    def stepped(walk: Walk) -> None:
        predicted.go_on(first + walk.step)
        on_step(first + walk.step, walk.videos[0])

    return sample(sampling.solver, predicted.velocity, noise, sampling.sigmas[first:], stepped, around)


def relay_of(window: Window, models: Models, given: Tensor) -> Tensor | None:
    """What keeps the window's beats to their seconds, None without beats. given: [B, 20, T, h, w] -> bias [T, S]"""
    if not window.beats:
        return None
    tokens = models.text.tokens_of(window.prompt, [(beat.start, beat.stop) for beat in window.beats])
    latent_frames = given.shape[2]
    return relay_bias(segments(window.beats, tokens, latent_frames), latent_frames, models.text.slots).to(given.device)


@dataclass
class WindowVelocity:
    """The velocity of one window, for any sampler. What it remembers (texts, momenta, cache) dies with the window.

    However often it is asked within a step, it is the same step: `go_on` says when the next one begins.
    """

    window: Window
    given: Tensor  # the condition: [B, 20, T, h, w]
    sampling: Sampling
    models: Models
    cache: MagCache | None = None
    bias: Tensor | None = None  # of the positive text alone: the negative one has no beats
    step: int = 0  # of the plan's, from 0
    texts: dict[tuple[Expert, str, tuple[float, ...]], TextContext] = field(default_factory=dict)
    momenta: dict[Expert, Momentum] = field(default_factory=dict)  # as the step began
    new_momenta: dict[Expert, Momentum] = field(default_factory=dict)

    def go_on(self, step: int) -> None:
        """What is asked from now on belongs to step number `step`."""
        self.step = step
        self.momenta |= self.new_momenta

    def velocity(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """One evaluation of the step. latents: [B, 16, T, h, w], sigma: [B] -> [B, 16, T, h, w]"""
        if self.step < self.sampling.zero_steps:  # CFG-Zero, as in its paper; Wan2GP's overwrites these zeros
            return torch.zeros_like(latents)
        return self._guided(phase_at(self.sampling.phases, float(sigma[0])), latents, sigma)

    def _guided(self, phase: Phase, latents: Tensor, sigma: Tensor) -> Tensor:
        network, window, sampling = self.models.experts[phase.expert], self.window, self.sampling
        step_loras = self.models.step_loras.get(phase.expert)
        strengths = step_loras.use(self.step) if step_loras else ()
        inputs = network_input(latents, self.given)

        def text(prompt: str) -> TextContext:
            key = phase.expert, prompt, strengths
            if key not in self.texts:
                self.texts[key] = network.encode_text(self.models.text(prompt).to(self.given.device))
            return self.texts[key]

        def predict(
            branch: Branch, context: TextContext, skip_blocks: tuple[int, ...] = (), nag: NAG | None = None
        ) -> Tensor:
            if self.cache is not None:
                turn = Turn(self.step, branch, phase.expert, strengths, skip_blocks)
                return self.cache.predict(network, turn, inputs, sigma, context, nag)
            velocity: Tensor = network(inputs, sigma, context, skip_blocks, nag)
            return velocity

        positive_text, nag = text(window.prompt), None
        if self.bias is not None:
            positive_text = positive_text.with_bias(self.bias)
        if sampling.nag is not None:
            positive_text = positive_text.with_negative(text(window.negative))
            nag = NAG(**sampling.nag.model_dump())
        positive = predict(Branch.POSITIVE, positive_text, nag=nag)
        if phase.guidance == 1:
            return positive
        skipped = sampling.skip_layers
        left_out = skipped.blocks if skipped and skipped.covers(self.step, sampling.steps) else ()
        negative = predict(Branch.NEGATIVE, text(window.negative), left_out)
        return self._combined(phase, positive, negative)

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
