"""Where networks are kept while they film: how much of them on the device, told from what is free there.

    resident    both experts on the device, and the text encoder too where there is room
    expert      the expert that predicts on the device, the other one in the host's memory
    streamed    as many blocks as fit on the device, the others come and go (engine/streaming.py)
    least       no block stays

Each needs less than the one before and gives the same film. Below `resident` the text encoder's blocks come and go as
well, before a film begins, and then it is forgotten.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from engine.dit import PATCH, DiTConfig
from engine.vae import VAEConfig
from storage.disk import GIB
from storage.schema import Plan
from storage.timeline import WINDOW_FRAMES, latent_frames

SHARE = 0.85  # of what is free; the rest is for other programs
FRAGMENTS = 1.25  # what comes and goes takes so much more of an allocator than it is large
UMT5_XXL_BYTES = 11_400_000_000
LATENTS_PER_CALL = (4, 2, 1)  # of the VAE's decoder: more are faster


class Tier(StrEnum):
    """How much of the networks stays on the device, most first."""

    RESIDENT = "resident"
    EXPERT = "expert"
    STREAMED = "streamed"
    LEAST = "least"

    def smaller(self) -> "Tier | None":
        """The next tier that needs less; None after the last."""
        return next((tier for tier in Tier if tier.step > self.step), None)

    @property
    def step(self) -> int:
        """Its place in that order, from 0."""
        return list(Tier).index(self)


@dataclass(frozen=True)
class Need:
    """Bytes that a plan's networks and their work take on a device; of the VAE's work as measured on an H200."""

    experts: int  # different networks
    blocks: int  # of one expert, but for its products of texts
    texts: int  # those products
    rest: int  # of one expert, outside of its blocks
    vae: int
    text_encoder: int
    denoising: int
    decoding: Callable[[int], int]  # with so many latents a call

    @property
    def working(self) -> int:
        """What comes and goes, of which denoising and decoding never run at a time."""
        return max(self.denoising, self.decoding(1))

    @property
    def resident(self) -> int:
        """Everything, without the text encoder."""
        return self.experts * (self.blocks + self.texts + self.rest) + self.vae + self.working

    @property
    def expert(self) -> int:
        """One expert's blocks and all the rest."""
        return self.blocks + self.experts * self.rest + self.vae + self.working


@dataclass(frozen=True)
class Precision:
    """Of the blocks' matrix products. `wide`: bytes of a number; `fp8`: where there may be a byte, there is one."""

    wide: int
    fp8: bool


@dataclass(frozen=True)
class Placement:
    """Where a plan's networks are kept, and how many latents the VAE decodes a call.

    `beside`: a window is decoded while the next one is denoised.
    """

    tier: Tier
    text_on_device: bool
    latents_per_call: int
    beside: bool

    def within(self, other: "Placement") -> bool:
        """Whether networks kept like this leave as much room as `other`, or more."""
        return self.tier.step >= other.tier.step and self.text_on_device <= other.text_on_device


def place(need: Need, available: int | None, wanted: Tier | None = None, largest: Tier = Tier.RESIDENT) -> Placement:
    """The tier that is `wanted`, or the first from `largest` on that fits into so many bytes; what streams fits always.

    available: None where memory is not divided, as on a CPU: there everything fits.
    """
    room = sys.maxsize if available is None else available
    used = {Tier.RESIDENT: need.resident, Tier.EXPERT: need.expert}
    fitting = (tier for tier in Tier if tier.step >= largest.step and used.get(tier, 0) <= room)
    tier = wanted or next(fitting)
    text_on_device = tier is Tier.RESIDENT and need.resident + need.text_encoder <= room
    spare = need.working + max(0, room - used[tier]) if tier in used else need.working
    latents_per_call = next((count for count in LATENTS_PER_CALL if need.decoding(count) <= spare), 1)
    both = need.denoising + need.decoding(latents_per_call) + need.text_encoder * text_on_device
    return Placement(tier, text_on_device, latents_per_call, beside=tier is Tier.RESIDENT and both <= spare)


def room_for_blocks(tier: Tier, need: Need, sizes: Sequence[int], free: int) -> int:
    """Bytes for the slots of blocks of these sizes, where `free` bytes are left beside everything that stays."""
    if tier is Tier.EXPERT:
        return sum(sizes)
    return max(0, free - int(FRAGMENTS * need.working)) if tier is Tier.STREAMED else 0


def needs(
    plan: Plan, sizes: DiTConfig, vae: VAEConfig, text_encoder: int, precision: Precision, *, experts: int
) -> Need:
    """What filming `plan` takes with so many networks of these sizes. text_encoder: its bytes"""
    wide = precision.wide
    square, long = sizes.dim**2, sizes.dim * sizes.ffn_dim
    travelling = 6 * square + 2 * long  # of a block
    in_fp8 = max(sizes.layers - 2, 0) if precision.fp8 else 0
    pixels = plan.size.width * plan.size.height
    tokens = latent_frames(WINDOW_FRAMES) * pixels // (vae.pixels_per_latent**2 * PATCH[1] * PATCH[2])
    prompts = 2 if plan.sampling.needs_negative else 1
    context = 2 * sizes.layers * sizes.text_len * sizes.dim * wide
    activations = tokens * (24 * sizes.dim + wide * sizes.ffn_dim)  # four float32 streams, four half ones, one of FFN
    remembered = prompts * tokens * 4 * sizes.dim if plan.sampling.magcache else 0

    def decoding(latents_per_call: int) -> int:  # 7.2 and 14.2 GiB with 4 and 10 latents a call at 832x480
        return pixels * vae.base_dim * (70 + 33 * latents_per_call)

    outside = 7 * square + sizes.dim * (sizes.freq_dim + 4 * sizes.in_dim)  # time and patches, in float32
    return Need(
        experts=experts,
        blocks=travelling * (in_fp8 + wide * (sizes.layers - in_fp8)),
        texts=2 * square * wide * sizes.layers,
        rest=4 * outside + wide * sizes.dim * (sizes.text_dim + sizes.dim),
        vae=254_000_000 * vae.base_dim**2 // 96**2,
        text_encoder=text_encoder,
        denoising=activations + remembered + experts * prompts * context,
        decoding=decoding,
    )


def available_bytes(device: torch.device, limit_gib: float) -> int | None:
    """Bytes on the device that this process may use, those that it uses now included; None if nothing limits them."""
    limit = int(limit_gib * GIB) if limit_gib else None
    if device.type != "cuda":
        return limit
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device)
    return int(SHARE * min(limit or total, free + ours))
