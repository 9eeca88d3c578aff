"""What a window is conditioned on, as in SVI 2.0 Pro: the anchor, the tail of the window before, and nothing else.

# B batch, T latent frames, h w latent height and width; all latents are normalised, 16 channels
#
#   latent frame      0         1                    2 ... T - 1
#   condition    16   anchor    tail (or zeros)      zeros
#   mask          4   1         0                    0
#
# The zeros are latents of value zero, not an encoded grey picture, and the mask marks the anchor alone.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from storage import timeline

FRAMES_PER_LATENT = 4  # pixel frames that every latent frame but the first stands for
EVE_LATENT_FRAMES = 2
MASK_CHANNELS = FRAMES_PER_LATENT  # one for each of them
WINDOW_LATENT_FRAMES = timeline.latent_frames(timeline.WINDOW_FRAMES)
MOVED_FROM = {False: 1, True: 4}  # first latent frame that motion amplitude moves; True for a window with a tail
FARTHEST = 6.0  # that it moves a latent from zero


def condition(anchor: Tensor, tail: Tensor | None, latent_frames: int = WINDOW_LATENT_FRAMES) -> Tensor:
    """The condition of a window, mask first. anchor: [B, 16, 1, h, w], tail: the same -> [B, 20, T, h, w]

    `tail` is None in a window that continues nothing.
    """
    frames = [anchor] if tail is None else [anchor, tail]
    if any(frame.ndim != 5 or frame.shape[2] != 1 or frame.shape != anchor.shape for frame in frames):
        raise ValueError(f"anchor and tail must be [B, 16, 1, h, w], got {[list(frame.shape) for frame in frames]}")
    if latent_frames < len(frames):
        raise ValueError(f"{len(frames)} known latent frames do not fit into {latent_frames}")
    batch, channels, _, height, width = anchor.shape
    filled = anchor.new_zeros(batch, MASK_CHANNELS + channels, latent_frames, height, width)
    filled[:, :MASK_CHANNELS, 0] = 1
    filled[:, MASK_CHANNELS:, : len(frames)] = torch.cat(frames, dim=2)
    return filled


def with_motion(condition: Tensor, amplitude: float, *, continues: bool) -> Tensor:
    """The condition with what is unknown pushed away from the anchor, for more motion. [B, 20, T, h, w] -> the same

    With d = latent frame - anchor and m the mean of d over channels and places, a latent frame becomes
    anchor + m + amplitude (d - m), within [-6, 6]; the zeros become -(amplitude - 1) (anchor - its mean). 1 is off.

    As in Wan2GP's any2video.py (from ComfyUI-PainterI2V), which leaves alone as many *latent* frames as it was given
    *pixel* frames to begin with: 1 picture, or the 4 frames that a window continues. Counted in latent frames those 4
    are anchor and tail, 2 of them, so that it also leaves two of the zeros alone. That looks like a slip, but it is
    what people's amplitudes were found with, and so it is kept.
    """
    if amplitude == 1:
        return condition
    moved_from = MOVED_FROM[continues]
    anchor = condition[:, MASK_CHANNELS:, :1]
    difference = condition[:, MASK_CHANNELS:, moved_from:] - anchor
    mean = difference.mean(dim=(1, 3, 4), keepdim=True)
    moved = condition.clone()
    moved[:, MASK_CHANNELS:, moved_from:] = (anchor + mean + amplitude * (difference - mean)).clamp(-FARTHEST, FARTHEST)
    return moved


def network_input(noisy: Tensor, condition: Tensor) -> Tensor:
    """What the network reads, noise first. noisy: [B, 16, T, h, w], condition: [B, 20, T, h, w] -> [B, 36, T, h, w]"""
    return torch.cat([noisy, condition], dim=1)


def tail_of(latents: Tensor) -> Tensor:
    """The last latent frame, handed raw to the next window. [B, 16, T, h, w] -> [B, 16, 1, h, w]"""
    return latents[:, :, -1:]


def without_end(latents: Tensor, frames: int) -> Tensor:
    """A window without its last `frames` pixel frames, a multiple of 4. [B, 16, T, h, w] -> [B, 16, fewer, h, w]

    Decoding goes forward in time, so what is left decodes as it would with its end; its last latent frame is the tail.
    """
    return latents[:, :, : latents.shape[2] - frames // FRAMES_PER_LATENT]


def eve_of(latents: Tensor) -> Tensor:
    """The latent frames before the tail, which the next window is decoded behind. [B, 16, T, h, w] -> [B, 16, 2, h, w]

    Of a window of the film's own; a video of 9 frames has just these two and the tail.
    """
    return latents[:, :, -1 - EVE_LATENT_FRAMES : -1]


def in_film(latents: Tensor, tail: Tensor | None, eve: Tensor | None = None) -> Tensor:
    """A window's latents as they are decoded: behind those of the film before it. [B, 16, T, h, w] -> [B, 16, T', h, w]

    The decoder looks back in time. Behind the anchor, which is no neighbour of the tail, it would make other pixels of
    the same latents than behind the film's own end, and the join would be seen. So the anchor gives way to the two
    latent frames before the tail, and what the network repeats of the tail to the tail itself. Without `eve`, of a film
    that an older Longtake made, the anchor stays. All latent frames up to the tail were shown before.
    """
    if tail is None:
        return latents
    return torch.cat(
        [latents[:, :, :1] if eve is None else eve.to(latents), tail.to(latents), latents[:, :, 2:]], dim=2
    )


def window_noises(seed: int, shape: Sequence[int]) -> Iterator[Tensor]:
    """Noise of `shape` [B, 16, T, h, w] after noise from one `seed`, without end; a window begins with the first.

    float32, made on the CPU, so that every device films the same.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu")


def window_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """The noise that a window begins with. -> `shape` [B, 16, T, h, w]"""
    return next(window_noises(seed, shape))
