"""Times convolutions of the VAE's decoder in other ways than engine/kernels/frames_triton.py, beside that, in one run.

    python benchmarks/convolutions.py               on a Hopper GPU
    TRITON_INTERPRET=1 python benchmarks/convolutions.py --toy      the same code at toy size, on any machine

The kernels that decode read one tap at a time: 96 or 192 channels, cut into pieces of 32 or 64. Here the taps of a row
are read as one run, since neighbours lie side by side: 3 x 96 channels are 4.5 pieces of 64. With `fp8`, frames and
weights are bytes, a weight's with a scale for every output channel. Each way is checked against torch's convolution in
float32 before it is timed. The last line is one JSON object.

NOTE: Triton's interpreter multiplies no halves and no bytes, so at toy size everything is float32.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from einops import rearrange
from rig import commit, device_name
from torch import Tensor
from triton.testing import do_bench
from triton.tools.tensor_descriptor import TensorDescriptor

from engine.kernels import frames, frames_triton

FP8 = torch.float8_e4m3fn
LARGEST = 448.0  # in e4m3
GAIN = 8.0  # frames are stored times this: behind norm and SiLU most values are below 4


@dataclass(frozen=True)
class Shape:
    """A convolution with three taps in time, of frames of height x width."""

    channels_in: int
    channels_out: int
    frames: int
    height: int
    width: int

    @property
    def flop(self) -> float:
        """Of one call."""
        return 2.0 * 27 * self.channels_in * self.channels_out * self.frames * self.height * self.width


@dataclass(frozen=True)
class Cut:
    """How a program is cut: rows, output channels in one part or two, input numbers at once."""

    rows: int
    n: tuple[int, int]
    k: int
    warps: int
    stages: int


FULL = [Shape(96, 96, 16, 480, 832), Shape(192, 192, 16, 240, 416), Shape(384, 384, 8, 120, 208)]
TOY = [Shape(96, 96, 2, 4, 6), Shape(16, 32, 2, 4, 6)]


@triton.jit
def _kernel(  # noqa: PLR0913 - a kernel
    x, weight, weight2, bias, scale, out, rows, frame_rows, pitch, height, width, channels_out,
    KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, PARTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BN2: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * BM
    channel = tl.program_id(1) * (BN + BN2)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    if BN2:
        total2 = tl.zeros((BM, BN2), dtype=tl.float32)
    for step in range(KT * KH * PARTS):
        line = step // PARTS
        row = first + (line // KH) * frame_rows + (line % KH - KH // 2) * pitch - KW // 2
        a = x.load([row, (step % PARTS) * BK])
        total = tl.dot(a, weight.load([channel, step * BK]).T, total)
        if BN2:
            total2 = tl.dot(a, weight2.load([channel + BN, step * BK]).T, total2)
    row = first + tl.arange(0, BM)
    h, w = row // pitch % (height + 2), row % pitch
    inside = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    _put(total, bias, scale, out, row, rows, channel + tl.arange(0, BN), channels_out, inside)
    if BN2:
        _put(total2, bias, scale, out, row, rows, channel + BN + tl.arange(0, BN2), channels_out, inside)


@triton.jit
def _put(total, bias, scale, out, row, rows, n, channels_out, inside):  # noqa: PLR0913 - a kernel
    there = (row < rows)[:, None] & (n < channels_out)[None, :]
    at = row.to(tl.int64)[:, None] * channels_out + n[None, :]
    gain = tl.load(scale + n, mask=n < channels_out, other=0.0)
    total = total * gain[None, :] + tl.load(bias + n, mask=n < channels_out, other=0.0).to(tl.float32)[None, :]
    tl.store(out + at, tl.where(inside[:, None], total, 0.0).to(out.dtype.element_ty), mask=there)


def in_runs(weight: Tensor, k: int) -> Tensor:
    """[C out, C in, 3, 3, 3] -> [C out, 9 * run], where a run is a row of taps, filled with zeros to pieces of k."""
    runs = rearrange(weight, "o i t h w -> o (t h) (w i)")
    return F.pad(runs, (0, -runs.shape[2] % k)).flatten(1).contiguous()


def convolved(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, cut: Cut) -> Tensor:
    """x: padded frames, weight: in runs, scale and bias: [C out] -> padded frames in bfloat16"""
    count, height, width, channels = x.shape[0] - 2, x.shape[1] - 2, x.shape[2] - 2, x.shape[3]
    out = torch.empty(count, height + 2, width + 2, len(bias), dtype=torch.bfloat16, device=x.device)
    rows, (n, n2), run = count * (height + 2) * (width + 2), cut.n, 3 * channels
    lines = TensorDescriptor(x, [x.numel() // channels - 2, run], [channels, 1], [cut.rows, cut.k])
    _kernel[(triton.cdiv(rows, cut.rows), triton.cdiv(len(bias), n + n2))](
        lines, TensorDescriptor.from_tensor(weight, [n, cut.k]), TensorDescriptor.from_tensor(weight, [n2 or n, cut.k]),
        bias, scale, out, rows, (height + 2) * (width + 2), width + 2, height, width, len(bias),
        KT=3, KH=3, KW=3, PARTS=triton.cdiv(run, cut.k),
        BM=cut.rows, BN=n, BN2=n2, BK=cut.k, num_warps=cut.warps, num_stages=cut.stages,
    )  # fmt: skip
    return out


def cuts(shape: Shape, *, fp8: bool) -> list[Cut]:
    """What is worth trying."""
    if shape.channels_out == 96:
        widths = [(64, 32), (128, 0)]
    elif shape.channels_out == 192:
        widths = [(128, 64), (64, 0), (256, 0)]
    else:
        widths = [(min(128, shape.channels_out), 0), (min(256, shape.channels_out), 0)]
    pieces = (64, 128) if fp8 else (32, 64)
    found = [
        Cut(rows, n, k, warps, stages)
        for rows, n, k, warps, stages in product((128, 256), widths, pieces, (4, 8), (3, 4))
    ]
    return [
        cut for cut in found if cut.rows * sum(cut.n) <= cut.warps * 32 * 128
    ]  # a thread's sums stay in its registers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="small frames, one cut each")
    return parser.parse_args()


@torch.inference_mode()
def main() -> None:
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"commit {commit()}, torch {torch.__version__}, triton {triton.__version__}, {device_name(device)}", flush=True
    )
    results = {}
    for shape in TOY if options.toy else FULL:
        results[f"{shape.channels_in} -> {shape.channels_out}"] = tried(shape, device, toy=options.toy)
    print(json.dumps({"device": device_name(device), "commit": commit(), "TFLOP/s": results}))


def tried(shape: Shape, device: torch.device, *, toy: bool) -> dict[str, float]:
    """TFLOP/s of the kernel that decodes, and of the best cut of each way here."""
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(
        1, shape.channels_in, shape.frames + 2, shape.height, shape.width, generator=generator, device=device
    )
    half, byte = (torch.float32, torch.float32) if toy else (torch.bfloat16, FP8)
    x = F.silu(x).to(half)
    weight = torch.randn(shape.channels_out, shape.channels_in, 3, 3, 3, generator=generator, device=device)
    weight = (weight / (27 * shape.channels_in) ** 0.5).to(half)
    bias = torch.randn(shape.channels_out, generator=generator, device=device)
    expected = F.conv3d(x.float(), weight.float(), bias, padding=(0, 1, 1))
    seen, one, packed = frames.padded(x), torch.ones_like(bias), frames.packed(weight)
    best = {
        "decodes now": timed(lambda: frames_triton.convolution(seen, packed, bias, (3, 3, 3), None, None), expected)
    }
    largest = weight.float().flatten(1).abs().amax(1)
    bytes_of = (weight.float() * (LARGEST / largest).view(-1, 1, 1, 1, 1)).to(FP8).to(torch.float32)
    ways = {
        "runs, bf16": (seen, weight, one),
        "runs, fp8": ((seen.float() * GAIN).clamp(-LARGEST, LARGEST).to(byte), bytes_of, largest / (LARGEST * GAIN)),
    }
    for name, (shown, taps, scale) in ways.items():
        for cut in cuts(shape, fp8=name == "runs, fp8")[: 1 if toy else None]:
            laid = in_runs(taps, cut.k).to(shown.dtype)
            try:
                took = timed(lambda s=shown, p=laid, q=scale, c=cut: convolved(s, p, q, bias, c), expected)
            except (
                RuntimeError,
                triton.runtime.errors.OutOfResources,
                triton.compiler.errors.CompilationError,
            ) as error:
                print(f"{name} {cut}: {str(error).splitlines()[0][:120]}", flush=True)
                continue
            if took < best.get(name, float("inf")):
                best[name] = took
                print(f"{shape} {name} {cut}: {shape.flop / took / 1e12:.0f} TFLOP/s", flush=True)
    return {name: round(shape.flop / seconds / 1e12, 1) for name, seconds in best.items()}


def timed(act: Callable[[], Tensor], expected: Tensor) -> float:
    """Seconds of one call, whose result is right: the median of many on a GPU."""
    got = frames.unpadded(act()).float()
    error = ((got - expected).norm() / expected.norm()).item()
    if not error < 0.05:
        raise RuntimeError(f"wrong by {error:.3f}")
    if not got.is_cuda:
        print(f"relative error {error:.4f}", flush=True)
        return 1.0
    return float(do_bench(act, warmup=20, rep=60, return_mode="median")) / 1000


if __name__ == "__main__":
    main()
