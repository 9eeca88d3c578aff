"""Training results -> the folder of weights that ships: bfloat16, in the layout that engine.models reads.

python -m engine.demo.export --vae .train/vae --text .train/text --dit .train/dit
"""

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.demo.config import DIT_SIZES, STEPS, VAE_SIZES, noise_levels
from engine.demo.student import SHARDS
from engine.vae import VAEConfig

WEIGHTS = Path(__file__).parent / "weights"

log = logging.getLogger(__name__)


def export(vae: Path, text: Path, dit: Path, out: Path) -> int:
    """Write the folder; its safetensors' size in bytes."""
    (out / "text").mkdir(parents=True, exist_ok=True)
    statistics = json.loads((vae / "vae_statistics.json").read_text())
    sizes = VAEConfig(**VAE_SIZES, latent_mean=tuple(statistics["mean"]), latent_std=tuple(statistics["std"]))
    shards = [load_file(dit / f"dit-{shard}.safetensors") for shard in range(SHARDS)]
    _write(load_file(vae / "vae.safetensors"), out / "vae.safetensors")
    _write({name: weight for shard in shards for name, weight in shard.items()}, out / "dit.safetensors")
    _write(load_file(text / "encoder.safetensors"), out / "text" / "model.safetensors")
    for name in ("tokenizer.json", "config.json"):
        (out / "text" / name).write_text((text / name).read_text(encoding="utf-8"), encoding="utf-8")
    config = {
        "trained": True,
        "dit": asdict(DIT_SIZES),
        "experts": {"high_noise": "dit.safetensors", "low_noise": "dit.safetensors"},
        "vae": asdict(sizes),
        "vae_file": "vae.safetensors",
        "text": "text",
        "sampling": {"solver": "euler", "sigmas": noise_levels(STEPS), "guidance": 1.0},
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return sum(file.stat().st_size for file in out.rglob("*.safetensors"))


def _write(weights: dict[str, Tensor], file: Path) -> None:
    save_file({name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}, file)


def main() -> None:
    """Export what the arguments name."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Write the folder of weights that ships.")
    for name in ("vae", "text", "dit"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    log.info("%.2f MB of weights in %s", export(args.vae, args.text, args.dit, args.out) / 1e6, args.out)


if __name__ == "__main__":
    main()
