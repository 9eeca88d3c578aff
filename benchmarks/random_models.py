"""The networks of the 14 B model, or of toy size, with random weights made on the device: no file is needed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from rig import ROOT, randomised
from torch import Tensor

from engine.demo import untrained
from engine.dit import DiT, DiTConfig
from engine.pixels import picture_to_pixels
from engine.text import TextEncoder
from engine.vae import VAE, VAEConfig
from storage.pictures import load_picture
from storage.schema import Expert, Size

FAINT = 0.3  # levels of 255
SPEED = 2  # pixels a frame
LONGEST = 96  # frames that are decoded in one go, or more
UMT5_XXL = {
    "vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
TOY_TEXT = {"vocab_size": 258, "d_model": untrained.TEXT_DIM, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}


def random_experts(sizes: DiTConfig, precision: str, device: torch.device) -> dict[Expert, DiT]:
    """Both experts; the same numbers on every GPU of a kind."""
    experts = {}
    for number, expert in enumerate(Expert):
        with torch.device("meta"):
            network = DiT(sizes).requires_grad_(False).to_precision(torch.bfloat16)
        experts[expert] = randomised(network, device, seed=number)
        if precision != "bfloat16":
            experts[expert].to_fp8(attention=precision == "fp8-attention")
    return experts


class PanningVAE(VAE):
    """A VAE that decodes as any, and adds what it decodes to a pan over a photo."""

    photo: Tensor | None = None  # [3, H, W] in [-1, 1], wider than a frame

    def decode(self, latents: Tensor, latents_per_call: int = 1) -> Iterator[Tensor]:
        """As VAE.decode."""
        assert self.photo is not None
        width, first = latents.shape[-1] * self.config.pixels_per_latent, 0
        for chunk in super().decode(latents, latents_per_call):
            last = first + chunk.shape[2]
            views = [self.photo[..., SPEED * at : SPEED * at + width] for at in range(first, last)]
            yield (chunk + torch.stack(views, dim=1)).clamp(-1, 1)
            first = last


def panning_vae(sizes: VAEConfig, device: torch.device, size: Size) -> PanningVAE:
    """Its noise is of FAINT levels of 255, so that an encoder takes as long as for a photo that moves."""
    with torch.device("meta"):
        empty = PanningVAE(sizes).requires_grad_(False).to(torch.bfloat16)
    vae = randomised(empty, device).channels_last()
    wide = Size(width=size.width + SPEED * LONGEST, height=size.height)
    vae.photo = picture_to_pixels(load_picture(ROOT / "examples" / "cat.jpg"), wide)[0, :, 0].to(device)
    with torch.inference_mode():
        noise = list(VAE.decode(vae, torch.randn(1, sizes.z_dim, 3, 12, 16, device=device)))
    for weight in vae.decoder.head["2"].parameters():
        weight.data.mul_(FAINT / 127.5 / torch.cat(noise, dim=2).std().item())
    return vae


def random_text_encoder(
    umt5: Mapping[str, object], sizes: DiTConfig, device: torch.device, folder: Path
) -> TextEncoder:
    """An UMT5 encoder whose tokens are bytes; its tokenizer lies in `folder`."""
    from transformers import UMT5Config, UMT5EncoderModel

    (folder / "config.json").write_text(json.dumps(umt5))
    untrained.byte_tokenizer().save(str(folder / "tokenizer.json"))
    encoder = TextEncoder.in_folder(folder, sizes.text_len, device)
    with torch.device("meta"):
        network = UMT5EncoderModel(UMT5Config(**umt5)).to(torch.bfloat16).eval()
    encoder.__dict__["_network"] = randomised(network, device)  # in place of the one it would read from files
    return encoder
