"""Times windows of the 14 B model on cards of less memory, beside the same networks all resident, in one process.

    python benchmarks/memory.py                          on a GPU with 80 GB or more, and as much of the host's memory
    python benchmarks/memory.py --precision fp8-attention --cards 24 12
    python benchmarks/memory.py --toy                    the same code at toy size, on any machine

A card is emulated: this process may use no more of the GPU than it has. That shows the memory and how far copies hide
behind what is computed, not another card's seconds, nor the rate at which another machine copies. Weights are random
and never zero; texts are random embeddings. A window is denoised and decoded as in a film. The last line is one JSON
object.
"""

import argparse
import gc
import json
import sys
import time
from dataclasses import replace
from typing import cast

import torch
from laps import GIB, WINDOW, race
from random_models import random_experts
from rig import ROOT, commit, device_name, randomised, wait
from torch import Tensor, nn

from engine.demo import untrained
from engine.dit import TEXT_PRODUCTS, DiTConfig
from engine.memory import (
    SHARE,
    UMT5_XXL_BYTES,
    Need,
    Placement,
    Precision,
    Tier,
    needs,
    place,
    room_for_blocks,
)
from engine.models import Models
from engine.streaming import Pool
from engine.text import TextEncoder
from engine.vae import VAE, VAEConfig
from planner.presets import PRESETS
from storage.schema import Plan, Size, StartImage, Storyboard, StoryboardWindow

CONTEXT_GIB = 0.85  # of a card, that CUDA itself takes


class RandomTexts:
    """In place of the text encoder: embeddings that no text has, the same for the same text."""

    def __init__(self, sizes: DiTConfig, device: torch.device) -> None:
        self._embeddings = torch.randn(1, sizes.text_len, sizes.text_dim, device=device)

    def __call__(self, _: str) -> Tensor:
        return self._embeddings


def main() -> None:
    started = time.perf_counter()
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"commit {options.commit}, torch {torch.__version__}, {device_name(device)}", flush=True)
    size = Size(width=64, height=48) if options.toy else Size(width=options.width, height=options.height)
    plan = plan_of(size)
    models, need = build(options, plan, device)
    after("built", started)
    latents, resident = race("resident", plan, models, options.repeats)
    after("resident", started)
    results = {"resident": resident.told(None)}
    models, seconds = to_host(models, device)
    after(f"in host memory, which took {seconds:.1f} s", started)
    for card in options.cards:
        if time.perf_counter() - started > options.seconds:
            print(f"no time for {card} GB", flush=True)
            continue
        placed, placement = on_card(card, need, models, options)
        _, seen = race(f"{card:g} GB", plan, placed, options.repeats, placement, latents)
        results[seen.name] = seen.told(resident)
        print(seen.name, json.dumps(results[seen.name]), flush=True)
        after(seen.name, started)
    table(results)
    facts = {"device": device_name(device), "commit": options.commit, "torch": torch.__version__, "size": str(size)}
    print(json.dumps({**facts, "precision": options.precision, "to_host_s": round(seconds, 2), **results}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy networks")
    parser.add_argument("--cards", nargs="*", type=float, default=[24, 48, 16, 12], help="GiB of each emulated card")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "fp8", "fp8-attention"])
    parser.add_argument("--repeats", type=int, default=1, help="windows after the first one")
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--seconds", type=float, default=200, help="after which no card is begun")
    parser.add_argument("--commit", default=commit(), help="what to call the code, where git is not at hand")
    return parser.parse_args()


def plan_of(size: Size) -> Plan:
    preset = PRESETS["lightning"]
    return Plan(
        storyboard=Storyboard(title="benchmark", windows=(StoryboardWindow(scene=WINDOW.prompt),)),
        size=size,
        source=StartImage(image="a" * 64),
        windows=(WINDOW,),
        sampling=preset.sampling,
        seed=1,
        model=preset.model,
    )


def build(options: argparse.Namespace, plan: Plan, device: torch.device) -> tuple[Models, Need]:
    """Both experts and the VAE, random and made on the device."""
    sizes = replace(untrained.DIT, layers=12) if options.toy else DiTConfig()
    vae_sizes = untrained.VAE_SIZES if options.toy else VAEConfig()
    experts = random_experts(sizes, options.precision, device)
    with torch.device("meta"):
        vae = VAE(vae_sizes).requires_grad_(False).to(torch.bfloat16)
    need = needs(
        plan, sizes, vae_sizes, UMT5_XXL_BYTES, Precision(2, fp8=options.precision != "bfloat16"), experts=len(experts)
    )
    models = Models(
        experts=experts,
        vae=randomised(vae, device).channels_last(),
        text=cast("TextEncoder", RandomTexts(sizes, device)),
        device=device,
        trained=False,
        finish_dir=ROOT,
        latents_per_call=4,
    )
    return models, need


def to_host(models: Models, device: torch.device) -> tuple[Models, float]:
    """The same models with the experts' blocks in pinned host memory, and how long that took."""
    began = time.perf_counter()
    pool = Pool(device)
    for network in models.experts.values():
        pool.add(network, cast("list[nn.Module]", list(network.blocks)), fetched=TEXT_PRODUCTS)
    wait()
    with_pool = replace(models, pool=pool)
    return with_pool, time.perf_counter() - began


def on_card(card: float, need: Need, models: Models, options: argparse.Namespace) -> tuple[Models, Placement]:
    """The models as they would be kept on a card of so many GiB."""
    pool = models.pool
    assert pool is not None
    if options.toy:  # as large a part of its blocks as of the real ones
        placement = place(need, None, Tier.STREAMED if card < 40 else Tier.EXPERT)
        pool.resize(int(sum(pool.sizes) * min(1, card / 40)))
        return replace(models, latents_per_call=placement.latents_per_call), placement
    available = int(SHARE * (card - CONTEXT_GIB) * GIB)
    placement = place(need, available)
    if placement.tier is Tier.RESIDENT:
        sys.exit(f"with {card:g} GB everything stays on the card: that is measured already")
    pool.resize(0)
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(pool.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (card - CONTEXT_GIB) * GIB / total))
    beside = torch.cuda.memory_allocated(pool.device) - pool.nbytes
    pool.resize(room_for_blocks(placement.tier, need, pool.sizes, available - beside))
    return replace(models, latents_per_call=placement.latents_per_call), placement


def table(results: dict[str, dict[str, object]]) -> None:
    columns = ("tier", "resident_blocks", "forward_s", "forward_ratio", "window_s", "window_ratio", "overlap")
    columns = (*columns, "peak_allocated_gib", "peak_reserved_gib", "used_gib", "equal")
    print(f"\n{'':10}" + "".join(f"{column:>19}" for column in columns))
    for name, numbers in results.items():
        print(f"{name:10}" + "".join(f"{numbers.get(column)!s:>19}" for column in columns))


def after(what: str, started: float) -> None:
    print(f"{time.perf_counter() - started:6.1f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
