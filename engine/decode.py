"""Decoding with the memory that there is: the fastest way first, and a slower one that needs less where it runs out.

B batch (1), T latent frames, h w latent height and width, F frames, H W pixels
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from engine.tiles import decode_in_tiles
from engine.vae import VAE
from storage.footage import Frames

log = logging.getLogger("longtake.decode")

TILE = (32, 32)  # latent pixels: a sixth of 832x480
TILE_OVERLAP = 8

Decode = Callable[[Tensor], Iterator[Tensor]]  # latents [B, 16, T, h, w] -> chunks of pixels [B, 3, F, H, W] in [-1, 1]
Develop = Callable[[Tensor], Frames]  # such a chunk -> bytes [F, H, W, 3]


def decode_with_what_fits(vae: VAE, latents_per_call: int, latents: Tensor, develop: Develop) -> Iterator[Frames]:
    """What `develop` makes of a window's chunks, each as soon as it is there. latents: [B, 16, T, h, w]

    First `latents_per_call` latent frames at a time. Where memory runs out one, which changes nothing but rounding;
    then tiles, whose seams may be seen, rather than no film. The next way begins at the first frame again, and what was
    given stays as it is. Tiles that do not fit either are torch.OutOfMemoryError.
    """
    ways, given = decoders(vae, latents_per_call), 0
    for number, decode in enumerate(ways, start=1):
        try:
            for frames in later_than(given, map(develop, decode(latents))):
                given += len(frames)
                yield frames
            return
        except torch.OutOfMemoryError as error:  # nothing of it is kept: its traceback holds the failed tensors
            if number == len(ways):
                raise
            log.warning("out of memory while decoding, now in way %d of %d: %s", number + 1, len(ways), error)


def later_than(first: int, chunks: Iterable[Frames]) -> Iterator[Frames]:
    """Chunks of frames [F, H, W, 3] without the `first` frames of them all."""
    for chunk in chunks:
        if len(chunk) > first:
            yield chunk[first:]
        first = max(0, first - len(chunk))


def decoders(vae: VAE, latents_per_call: int) -> list[Decode]:
    """Every way to decode, each needing less memory than the one before."""
    whole = [partial(vae.decode, latents_per_call=count) for count in dict.fromkeys((latents_per_call, 1))]
    return [*whole, partial(decode_in_tiles, vae, tile=TILE, overlap=TILE_OVERLAP)]
