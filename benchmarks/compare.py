"""Times a forward and a decode of the 14 B model, ours in every way it can run and diffusers' with the same weights.

    python benchmarks/compare.py                    on a Hopper GPU with 80 GB or more
    python benchmarks/compare.py --compiled         and diffusers with its repeated blocks compiled
    python benchmarks/compare.py --toy --rounds 1   the same code at toy size, on any machine

All ways run in turn, round after round, so that they share the machine's moods; medians are shown. What each computes
is held against a reference, which is our plain path with float32 statistics; the distance of two bfloat16 attention
kernels on that path is the yardstick. Weights and inputs are random, never zero. The last line is one JSON object.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from rig import commit, device_name, randomised, wait
from torch import Tensor
from torch.nn import functional as F

from engine.attention import Kernel, fa3_installed, using
from engine.dit import DiT, DiTConfig
from engine.kernels import plainly
from engine.vae import VAE, VAEConfig

BF16_FLOPS = 790e12  # of a bfloat16 product on an H200, as measured
YARDSTICK = "plain + other attention"  # looked at once, not raced
TOY = DiTConfig(dim=64, heads=4, ffn_dim=96, freq_dim=32, layers=3, text_dim=32, text_len=8)


Run = Callable[[], Tensor]
Seen = dict[str, dict[str, float | None]]


@dataclass
class Way:
    """One way to compute something, and what was seen of it."""

    name: str
    run: Run
    seconds: list[float] = field(default_factory=list)
    cosine: float = math.nan
    psnr: float = math.nan

    def timed(self) -> Tensor:
        """Run once, and note how long that took."""
        wait()
        started = time.perf_counter()
        out = self.run()
        wait()
        self.seconds.append(time.perf_counter() - started)
        return out

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else math.nan

    def told(self, floor: float, peer: float) -> dict[str, float | None]:
        """What was seen, as JSON takes it."""
        numbers = {
            "seconds": self.median, "least": min(self.seconds, default=math.nan), "of_floor": floor / self.median,
            "to_diffusers": self.median / peer, "cosine": self.cosine, "psnr_db": self.psnr,
        }  # fmt: skip
        return {name: round(number, 6) if math.isfinite(number) else None for name, number in numbers.items()}


@torch.inference_mode()
def main() -> None:
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"commit {options.commit}, torch {torch.__version__}, {device_name(device)}, fa3 {fa3_installed()}", flush=True
    )
    height, width = (4, 6) if options.toy else (options.height // 8, options.width // 8)
    results: dict[str, object] = {"device": device_name(device), "commit": options.commit, "torch": torch.__version__}
    results["latent_size"] = [21, height, width]
    if "decode" in options.what:
        results["decode"] = decodes(options, device, torch.randn(1, 16, 21, height, width, device=device))
    if "forward" in options.what:
        results["forward"] = forwards(options, device, torch.randn(1, 36, 21, height, width, device=device))
    results["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None
    print(json.dumps(results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy networks")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each way")
    parser.add_argument("--compiled", action="store_true", help="diffusers compiled, too")
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--what", nargs="*", default=["decode", "forward"], choices=["decode", "forward"])
    parser.add_argument("--ways", default="", help="only ways whose name holds one of these words, by commas")
    parser.add_argument("--commit", default=commit(), help="what to call the code, where git is not at hand")
    return parser.parse_args()


def forwards(options: argparse.Namespace, device: torch.device, inputs: Tensor) -> Seen:
    """One forward of one expert. inputs: [1, 36, T, h, w]"""
    sizes = TOY if options.toy else DiTConfig()
    network = made(lambda: DiT(sizes).to_precision(torch.bfloat16), device)
    sigma = torch.tensor([0.7], dtype=torch.float64, device=device)
    embeddings = torch.randn(1, sizes.text_len // 2, sizes.text_dim, device=device)
    text = network.encode_text(embeddings)
    padded = F.pad(embeddings, (0, 0, 0, sizes.text_len - embeddings.shape[1]))

    def ours(of: DiT, kernel: Kernel | None = None, *, plain: bool = False) -> Run:
        return in_mode(lambda: of(inputs, sigma, text), kernel, plain=plain)

    ways: dict[str, Callable[[], Run]] = {
        "plain": lambda: ours(network, Kernel.CUDNN, plain=True),
        YARDSTICK: lambda: ours(network, plain=True),
        "fused + cudnn": lambda: ours(network, Kernel.CUDNN),
        "fused + best attention": lambda: ours(network),
        "fp8": lambda: ours(again(network).to_fp8(attention=False)),
        "fp8-attention": lambda: ours(again(network).to_fp8(attention=True)),
        "diffusers": lambda: peer_forward(network, (inputs, sigma, padded), compiled=False),
    }
    if options.compiled:
        ways["diffusers compiled"] = lambda: peer_forward(network, (inputs, sigma, padded), compiled=True)
    tokens = inputs.shape[2] * inputs.shape[3] * inputs.shape[4] // 4
    return measured(options, ways, forward_flops(sizes, tokens) / BF16_FLOPS)


def peer_forward(network: DiT, given: tuple[Tensor, Tensor, Tensor], *, compiled: bool) -> Run:
    """diffusers' own forward, as it comes or compiled. given: what peers.velocity takes"""
    import peers

    peer = peers.transformer(network, given[0].device)
    if compiled:
        peer.compile_repeated_blocks(fullgraph=True)
    return lambda: peers.velocity(peer, *given)


def decodes(options: argparse.Namespace, device: torch.device, latents: Tensor) -> Seen:
    """81 frames from latents. latents: [1, 16, T, h, w]"""
    config = VAEConfig(base_dim=16) if options.toy else VAEConfig()
    vae = made(lambda: VAE(config).to(torch.bfloat16), device).channels_last()

    def peer_decode() -> Run:
        import peers

        peer = peers.autoencoder(vae, device)
        return lambda: peers.pixels(peer, vae, latents)

    exact = made(lambda: VAE(config), device)
    exact.load_state_dict({name: weight.float() for name, weight in vae.state_dict().items()})
    with tf32_off(), plainly():
        reference = exact.decode_all(latents[:, :, :3])
    ways: dict[str, Callable[[], Run]] = {
        "plain": lambda: in_mode(lambda: vae.decode_all(latents, 4), None, plain=True),
        "frames": lambda: lambda: vae.decode_all(latents, 4),
        "diffusers": peer_decode,
    }
    flops = 275.4e12 * math.prod(latents.shape[2:]) / (21 * 60 * 104)
    return measured(options, ways, flops / BF16_FLOPS, reference)


def measured(
    options: argparse.Namespace, builders: dict[str, Callable[[], Run]], floor: float, reference: Tensor | None = None
) -> Seen:
    """Run all ways in turn, and say what was seen. Without a reference the first way is it; with one, its frames."""
    words = options.ways.split(",")
    ways = []
    for name, build in builders.items():
        if not any(word in name for word in words):
            continue
        way = Way(name, build())
        out = way.run().float()  # warms up, and is the run that is looked at
        reference = out if reference is None else reference
        way.cosine, way.psnr = likeness(out[:, :, : reference.shape[2]], reference)
        ways.append(way)
        print(f"{name}: cosine {way.cosine:.6f}, {way.psnr:.1f} dB", flush=True)
    for number in range(options.rounds):
        for way in ways:
            if way.name != YARDSTICK:
                way.timed()
        print(
            f"round {number + 1}:", *(f"{way.name} {way.seconds[-1]:.4f}," for way in ways if way.seconds), flush=True
        )
    peer = next((way.median for way in ways if way.name == "diffusers"), math.nan)
    print(f"\n{'':24}  seconds   of floor   / diffusers   cosine to reference   PSNR")
    for way in ways:
        shares = f"{way.median:9.4f}   {floor / way.median:7.1%}   {way.median / peer:10.3f}"
        print(f"{way.name:24}{shares}   {way.cosine:19.6f}   {way.psnr:5.1f} dB", flush=True)
    return {way.name: way.told(floor, peer) for way in ways}


def likeness(out: Tensor, reference: Tensor) -> tuple[float, float]:
    """Cosine and peak signal-to-noise ratio, the peak being the reference's range."""
    a, b = out.double().flatten(), reference.double().flatten()
    cosine = float(a @ b / (a.norm() * b.norm()))
    error = float((a - b).square().mean())
    return cosine, 10 * math.log10(float(b.max() - b.min()) ** 2 / error) if error else math.inf


def forward_flops(sizes: DiTConfig, tokens: int) -> float:
    """Of one forward's matrix products: the text's are computed once, before it."""
    products = 12 * sizes.dim**2 + 4 * sizes.dim * sizes.ffn_dim
    return float(sizes.layers * tokens * (products + 4 * sizes.dim * (tokens + sizes.text_len)))


def made(build: Callable[[], torch.nn.Module], device: torch.device):
    """A network with random weights, built on the device."""
    with torch.inference_mode(mode=False):
        with torch.device("meta"):
            network = build().requires_grad_(False)
        return randomised(network, device)


def again(network: DiT) -> DiT:
    """Another network around the same weights."""
    with torch.inference_mode(mode=False), torch.device("meta"):
        other = DiT(network.config).to_precision(torch.bfloat16).requires_grad_(False)
    other.load_state_dict(network.state_dict(), assign=True)
    return other


def in_mode(run: Run, kernel: Kernel | None, *, plain: bool) -> Run:
    """`run` with this attention kernel, and with the plain twins of our own kernels if `plain`."""

    def within() -> Tensor:
        with ExitStack() as stack:
            if plain:
                stack.enter_context(plainly())
            if kernel is not None:
                stack.enter_context(using(kernel))
            return run()

    return within


@contextmanager
def tf32_off():
    """Within, float32 convolutions are float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


if __name__ == "__main__":
    main()
