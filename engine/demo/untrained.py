"""Models of the right shape that know nothing: seeded random weights, for tests and for a machine without any others.

python -m engine.demo.untrained FOLDER
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn

from engine.dit import DiT, DiTConfig
from engine.text import END
from engine.vae import VAE, VAEConfig
from storage.schema import Expert

TEXT_DIM = 32
DIT = DiTConfig(dim=48, ffn_dim=96, freq_dim=32, heads=2, layers=2, text_dim=TEXT_DIM, text_len=64)
VAE_SIZES = VAEConfig(base_dim=8)


def write_untrained(folder: Path, seed: int = 0, dit: DiTConfig = DIT, vae: VAEConfig = VAE_SIZES) -> None:
    """A model folder as engine.models reads it. Same seed, same files."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    experts = {Expert.HIGH_NOISE: "high_noise.safetensors", Expert.LOW_NOISE: "low_noise.safetensors"}
    for file in experts.values():
        _save(DiT(dit), folder / file)
    _save(VAE(vae), folder / "vae.safetensors")
    _write_text_encoder(folder / "text", dit.text_dim)
    config = {
        "trained": False,
        "dit": asdict(dit),
        "experts": experts,
        "vae": asdict(vae),
        "vae_file": "vae.safetensors",
        "text": "text",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _write_text_encoder(folder: Path, width: int) -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    folder.mkdir(exist_ok=True)
    tokenizer = byte_tokenizer()
    sizes = UMT5Config(
        vocab_size=tokenizer.get_vocab_size(), d_model=width, d_kv=16, d_ff=2 * width, num_layers=2, num_heads=2
    )
    network = UMT5EncoderModel(sizes)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(sizes.to_diff_dict(), indent=1, default=str) + "\n")
    _save(network, folder / "model.safetensors")


def byte_tokenizer() -> Tokenizer:
    """A tokenizer to which every byte is a token, so that it reads any text."""
    tokens = ["<pad>", END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _save(network: nn.Module, file: Path) -> None:
    weights: dict[str, Tensor] = {
        name: weight.detach().bfloat16().contiguous()
        for name, weight in network.state_dict().items()
        if name != "encoder.embed_tokens.weight"  # another name of shared.weight
    }
    save_file(weights, file)


if __name__ == "__main__":
    write_untrained(Path(sys.argv[1]))
