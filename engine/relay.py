"""Timed prompts that hold: which latent frames of a window look at which words, by the second of each beat.

Every beat has a segment, from its second to the next later beat's, the last one to the window's end. In the text
attention, the frames of other times see the beat's tokens less: a penalty is added to the scores. The formula is that
of prompt relay in Wan2GP (shared/prompt_relay.py, for another model), in latent frames:

    penalty(q) = relu(|q - middle| - max(length / 2 - 2, 0))^2 / (2 sigma^2)
    bias(q) = (the least penalty of all frames) - penalty(q)

- The least penalty is taken over the frames, for each beat by itself: a beat shorter than a latent frame is seen fully
  in the one nearest to it. (The least over the beats, for each frame, would show a first beat from the start of the
  window, which is what a time is to prevent.)
- A second is 4 latent frames: latent frame i ends with pixel frame 4 i, so a beat at s seconds begins at q = 4 s.
- Between two beats lie up to 2 + 2 latent frames, a second, that see neither fully. Where a segment touches the
  window's start or end it has no such margin, unlike in the source: no beat is there to be kept apart from, and what
  the last beat brought would go again in the last frames, which the next window goes on from.
- Sigma is 0.538; the source's, 1 / ln(1 / 0.001) = 0.1448, makes a beat vanish within one latent frame. On the
  demonstration model both keep times alike, but with the source's camera moves are lost (engine/demo/README.md).
- Scene, camera and the end of the text have no time: their bias is 0. So have the padded slots, which the source hides
  with -100: this network was trained to see them (engine/dit.py), and they are where a frame looks that is to see no
  beat. Hidden, they would leave a window without a scene nothing but the end of the text before its first beat.

The network was not trained with any of it, and it changes which frames see a beat, not what the text encoder let its
words know of one another.

    T latent frames, S text slots
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storage.schema import BeatSpan
from storage.timeline import FPS

LATENT_FPS = FPS / 4
MARGIN = 2.0  # latent frames at each end of a segment that see it less
SIGMA = MARGIN / math.sqrt(2 * math.log(1000))  # 0.538: at a border each beat has a thousandth of its weight


@dataclass(frozen=True)
class Segment:
    """The tokens of a beat and its time, from `start` to `stop` in latent frames."""

    tokens: range
    start: float
    stop: float

    def seen_fully(self, end: float) -> tuple[float, float]:
        """The latent frames, from and to, that see the beat fully in a window whose last one is `end`."""
        middle = (self.start + self.stop) / 2
        first = min(self.start + MARGIN, middle) if self.start > 0 else 0.0
        last = max(self.stop - MARGIN, middle) if self.stop < end else end
        return first, last


def segments(beats: Sequence[BeatSpan], tokens: Sequence[range], latent_frames: int) -> tuple[Segment, ...]:
    """The segment of each beat, whose tokens are given. Beats of one second share their segment."""
    starts = [beat.seconds * LATENT_FPS for beat in beats]
    end = float(latent_frames - 1)
    stops = [min((other for other in starts if other > start), default=end) for start in starts]
    return tuple(
        Segment(place, min(start, end), min(stop, end))
        for place, start, stop in zip(tokens, starts, stops, strict=True)
    )


def relay_bias(segments: Sequence[Segment], latent_frames: int, slots: int, sigma: float = SIGMA) -> Tensor:
    """What is added to the scores of each slot of the text in each latent frame: [T, S] float32, 0 or less."""
    frames = torch.arange(latent_frames, dtype=torch.float64)
    bias = torch.zeros(latent_frames, slots, dtype=torch.float64)
    for segment in segments:
        first, last = segment.seen_fully(latent_frames - 1)
        penalty = torch.maximum(first - frames, frames - last).relu().square() / (2 * sigma**2)
        bias[:, segment.tokens.start : segment.tokens.stop] = (penalty.min() - penalty)[:, None]
    return bias.float()
