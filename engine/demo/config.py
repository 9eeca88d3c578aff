"""Sizes of the demonstration model, and how it walks from noise to pictures."""

from typing import TypedDict

from engine.dit import DiTConfig


class VAESizes(TypedDict):
    """What differs from Wan 2.1's VAE."""

    base_dim: int
    dim_mult: tuple[int, ...]
    res_blocks: int


VAE_SIZES: VAESizes = {"base_dim": 32, "dim_mult": (1, 2, 3, 3), "res_blocks": 1}
DIT_SIZES = DiTConfig(dim=320, ffn_dim=832, freq_dim=256, heads=5, layers=8, text_dim=192, text_len=160)
SHIFT = 5.0  # of the noise levels: most steps where the movement is decided
STEPS = 8


def noise_levels(steps: int) -> tuple[float, ...]:
    """Noise levels of `steps` Euler steps, from 1 to 0."""
    even = [1 - step / steps for step in range(steps + 1)]
    return tuple(round(SHIFT * level / (1 + (SHIFT - 1) * level), 6) for level in even)
