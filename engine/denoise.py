"""Noise -> the latents of one window.

Legend: B batch (1), T latent frames, h w latent height and width, S text slots. Latents are [B, 16, T, h, w].
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from engine.condition import condition, window_noises, with_motion
from engine.folder import Handover
from engine.guide import WindowGuide
from engine.magcache import MagCache
from engine.models import Models
from engine.refiner import refined
from engine.relay import relay_bias, segments
from engine.samplers import Step, Velocity, Walk, sample
from engine.team.team import Way
from engine.velocity import Scene, WindowVelocity
from storage.schema import Sampling, Timing, Window

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
    first = guide.first_step(sampling.steps, noise.shape[2]) if guide else 0
    scene = scene_of(window, sampling, given, models, timing)
    predicted = WindowVelocity(scene, sampling, models, MagCache.of(sampling, first), step=first)

    def around(step: Step) -> Step:
        if sampling.refiner:
            step = refined(step, sampling.refiner, noises, resting_steps=sampling.zero_steps - first)
        return guide.lead(step, noise, sampling.steps) if guide else step

    def stepped(walk: Walk) -> None:
        predicted.go_on(first + walk.step)
        on_step(first + walk.step, walk.videos[0])

    with shared(predicted, models) as velocity:
        return sample(sampling.solver, velocity, noise, sampling.sigmas[first:], stepped, around)


def scene_of(window: Window, sampling: Sampling, given: Tensor, models: Models, timing: Timing = Timing.TEXT) -> Scene:
    """What a window is predicted from. given: its condition, [B, 20, T, h, w]"""
    return Scene(
        given,
        models.text(window.prompt).to(given.device),
        models.text(window.negative).to(given.device) if sampling.needs_negative else None,
        relay_of(window, models, given) if timing is Timing.RELAY else None,
    )


def relay_of(window: Window, models: Models, given: Tensor) -> Tensor | None:
    """What keeps the window's beats to their seconds, None without beats. given: [B, 20, T, h, w] -> bias [T, S]"""
    if not window.beats:
        return None
    tokens = models.text.tokens_of(window.prompt, [(beat.start, beat.stop) for beat in window.beats])
    latent_frames = given.shape[2]
    return relay_bias(segments(window.beats, tokens, latent_frames), latent_frames, models.text.slots).to(given.device)


@contextmanager
def shared(predicted: WindowVelocity, models: Models) -> Iterator[Velocity]:
    """The velocity of a window that all GPUs of a team predict together; without a team, as it is."""
    lead = models.lead
    if lead is None:
        yield predicted.velocity
        return
    predicted.team = lead.team
    lead.begin(predicted.scene, predicted.sampling, predicted.step)

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        way = predicted.way(latents, sigma)
        if way is Way.ALONE:
            if not predicted.rests:
                lead.say_once(f"{lead.team.size} GPUs cannot share these forwards evenly: one of them predicts alone")
            return predicted.velocity(latents, sigma)
        with lead.predicting(predicted.step, float(sigma[0]), way, latents):
            return predicted.velocity(latents, sigma, way)

    yield velocity
    lead.settle()
