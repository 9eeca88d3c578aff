"""Decoding with the memory that there is: the fastest way first, and a slower one that needs less where it runs out.

B batch (1), T latent frames, h w latent height and width, F frames, H W pixels
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from engine.tiles import decode_in_tiles
from engine.vae import VAE

log = logging.getLogger("longtake.decode")

TILE = (32, 32)  # latent pixels: a sixth of 832x480
TILE_OVERLAP = 8

Decode = Callable[[Tensor], Iterator[Tensor]]  # latents [B, 16, T, h, w] -> chunks of pixels [B, 3, F, H, W] in [-1, 1]
Result = TypeVar("Result")


def decode_with_what_fits(vae: VAE, latents_per_call: int, use: Callable[[Decode], Result]) -> Result:
    """What `use` makes of a decoder. Where memory runs out, `use` begins again with a decoder that needs less.

    First `latents_per_call` latent frames at a time, then one, which changes nothing but rounding; then tiles, whose
    seams may be seen, rather than no film. `use` is called with one decoder after the other, so whatever it did with
    the chunks of one that failed, it must do anew. Tiles that do not fit either are torch.OutOfMemoryError.
    """
    *ways, last = decoders(vae, latents_per_call)
    for number, decode in enumerate(ways, start=1):
        try:
            return use(decode)
        except torch.OutOfMemoryError as error:  # nothing of it is kept: its traceback holds the failed tensors
            log.warning("out of memory while decoding, now in way %d of %d: %s", number + 1, len(ways) + 1, error)
    return use(last)


def decoders(vae: VAE, latents_per_call: int) -> list[Decode]:
    """Every way to decode, each needing less memory than the one before."""
    whole = [partial(vae.decode, latents_per_call=count) for count in dict.fromkeys((latents_per_call, 1))]
    return [*whole, partial(decode_in_tiles, vae, tile=TILE, overlap=TILE_OVERLAP)]
