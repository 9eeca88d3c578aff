"""Train the demonstration model's VAE: single pictures first, then clips, at the end whole windows.

    torchrun --nproc_per_node=2 -m engine.demo.train_vae --data .train/data --out $OUT --minutes 7

What is asked of it is in engine/demo/vae_losses.py. When clips begin, the network is a picture VAE for every frame
(engine.demo.inflate) and its encoder is done: a latent is its last frame as a picture, whatever came before, so that
latents of a still picture are all alike and overlapping windows agree. Only the decoder goes on: it learns to fill in
the three frames between, and to show the same pixels wherever in a film a window begins.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.demo import fast
from engine.demo.clips import Projector, film_to
from engine.demo.config import VAE_SIZES
from engine.demo.film import Film
from engine.demo.inflate import inflate
from engine.demo.muon import Muon
from engine.demo.stage import FILM, WINDOW
from engine.demo.training import Average, Clock, Crew, films, no_tokens, projector, psnr, sheet, warm_then_fall
from engine.demo.vae_losses import clip_losses, moved, picture_losses
from engine.vae import VAE, VAEConfig


@dataclass(frozen=True)
class Stage:
    """What is looked at for a part of the training."""

    until: float  # progress, in [0, 1]
    frames: int  # of a clip; 1: pictures
    height: int  # of its crop
    width: int


STAGES = (Stage(0.4, 1, 144, 256), Stage(0.8, 25, 112, 160), Stage(1.0, 57, 80, 96))
REPORT_EVERY = 50  # steps
TOY_STAGES = tuple(Stage(stage.until, min(stage.frames, 25), 48, 64) for stage in STAGES)


def clips(batch: Tensor, length: int, height: int, width: int) -> Tensor:
    """A random crop of the same place in every clip. [B, 3, F, H, W] -> [B, 3, length, height, width]"""
    top = int(torch.randint(batch.shape[3] - height + 1, ()))
    left = int(torch.randint(batch.shape[4] - width + 1, ()))
    return batch[:, :, :length, top : top + height, left : left + width]


@torch.no_grad()
def examine(vae: VAE, pixels: Tensor, crew: Crew) -> tuple[Tensor, Tensor]:
    """Latents (not normalised) and PSNR of each frame, with the means of the posterior. pixels: [B, 3, F, H, W]"""
    latents, quality = [], []
    for clip in torch.split(pixels, 4):
        with crew.autocast():
            mean, _ = vae.encode_distribution(clip, latents_per_call=5)
            latents.append(mean)
            quality.append(psnr(vae.decode_all(mean, 5), clip))
    return torch.cat(latents), torch.cat(quality)


@torch.no_grad()
def bearing(vae: VAE, pictures: Tensor, crew: Crew) -> str:
    """How latents bear what a camera does: PSNR of pictures, of pictures from moved latents, and how far those are off.

    pictures: [B, 3, 1, H, W]
    """
    words = []
    with crew.autocast():
        mean, _ = vae.encode_distribution(pictures)
        words.append(f"pictures {psnr(vae.decode_all(mean, 1), pictures).median():.2f} dB")
        for scale, aside in ((1.0, 0.03), (0.7, 0.03), (0.5, 0.03)):
            theta = torch.tensor([[scale, 0, aside], [0, scale, aside]], device=pictures.device)
            theta = theta.expand(len(pictures), 2, 3)
            target, shifted = moved(pictures, theta), moved(mean, theta)
            theirs, _ = vae.encode_distribution(target)
            quality = psnr(vae.decode_all(shifted.to(mean), 1), target).median()
            words.append(f"seen at {scale}: {quality:.2f} dB, off {(shifted - theirs).square().mean():.3f}")
    return "; ".join(words)


def save(average: Average, out: Path, statistics: dict[str, list[float]] | None) -> None:
    """Write vae.safetensors, in bfloat16, and what its configuration needs."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.to(torch.bfloat16).contiguous() for name, value in average.weights.items()},
        out / "vae.safetensors",
    )
    if statistics is not None:
        (out / "vae_statistics.json").write_text(json.dumps(statistics))


def draw(stage: Stage, source: Iterator[Film], draws: Projector, crew: Crew) -> Tensor:
    """A batch of clips for a stage. -> [B, 3, F, H, W]"""
    film = film_to(next(source), crew.device)
    if stage.frames > 1:
        film = Film(*[rows[: (len(rows) + 1) // 2] for rows in film])
    batch = film.camera.shape[0]
    if stage.frames == 1:
        frames = torch.randint(FILM, (batch, 4), device=crew.device)
        shown, _ = draws.draw(film, frames)
        return rearrange(shown, "b c n h w -> (b n) c 1 h w")
    start = torch.randint(FILM - stage.frames + 1, (batch, 1), device=crew.device)
    shown, _ = draws.draw(film, start + torch.arange(stage.frames, device=crew.device))
    return clips(shown, stage.frames, stage.height, stage.width)


def begin_clips(vae: VAE, *, inflated: bool = False) -> None:
    """From pictures to films: every frame alone, unless it was so before, and only the decoder learns."""
    if not inflated:
        inflate(vae)
    vae.encoder.requires_grad_(requires_grad=False)
    vae.conv1.requires_grad_(requires_grad=False)


def validation_clips(data: Path, crew: Crew, count: int, length: int) -> Tensor:
    """Clips of held-out photographs, the same ones every time. -> [count, 3, length, H, W]"""
    film = film_to(next(films(data, no_tokens, count, 777, 0)), crew.device)
    frames = torch.arange(length, device=crew.device).expand(count, length)
    shown, _ = projector(data, "validation", crew.device).draw(film, frames)
    return shown


def watched_clips(args: argparse.Namespace, crew: Crew) -> Tensor:
    """Held-out clips that tell how far training is. -> [B, 3, 17, H, W]"""
    clips = validation_clips(args.data, crew, 4 if args.toy else 16, 17)
    return clips[..., :48, :64] if args.toy else clips


def ends(vae: VAE) -> list[nn.Parameter]:
    """The layers whose scale matters, next to pixels and latents: AdamW's."""
    layers = (vae.encoder.conv1, vae.encoder.head, vae.conv1, vae.conv2, vae.decoder.conv1, vae.decoder.head)
    return [parameter for layer in layers for parameter in layer.parameters()]


def arguments() -> argparse.Namespace:
    """What the command is told."""
    parser = argparse.ArgumentParser(description="Train the demonstration model's VAE.")
    parser.add_argument("--data", type=Path, default=Path(".train/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument(
        "--batch", type=int, default=16, help="films a step; each gives four pictures, half of them a clip"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument(
        "--init", type=Path, help="a vae.safetensors to take the pictures from, rather than to learn them"
    )
    parser.add_argument("--further", action="store_true", help="--init knows clips already")
    parser.add_argument("--only", choices=["pictures", "clips"], help="one kind, all the time")
    parser.add_argument("--toy", action="store_true", help="few small clips, to see that the command runs")
    return parser.parse_args()


def first_vae(args: argparse.Namespace, crew: Crew) -> VAE:
    """The network as training begins, the same in every process."""
    vae = VAE(VAEConfig(**VAE_SIZES, latent_mean=(0.0,) * 16, latent_std=(1.0,) * 16)).to(crew.device)
    if args.init:
        vae.load_state_dict({name: value.float() for name, value in load_file(args.init).items()})
    elif crew.together:
        for parameter in vae.parameters():
            torch.distributed.broadcast(parameter.data, 0)
    return vae


class Course:
    """Which stage comes when: all of them in order, or with --init and --only those that are left."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.stages = TOY_STAGES if args.toy else STAGES
        self.begins_with_clips = bool(args.init) and args.only != "pictures"
        self._pictures_only = args.only == "pictures"
        self._begin = STAGES[1 if args.further else 0].until if self.begins_with_clips else 0.0

    @property
    def first(self) -> Stage:
        """What is looked at before anything is learned."""
        return self.stages[1 if self.begins_with_clips else 0]

    def at(self, progress: float) -> Stage:
        """The stage at a progress in [0, 1)."""
        at = 0.0 if self._pictures_only else self._begin + progress * (1 - self._begin)
        return next(stage for stage in self.stages if at <= stage.until)


class Tally:
    """What was learned from since it was told last."""

    def __init__(self, crew: Crew, clock: Clock) -> None:
        self._crew, self._clock = crew, clock
        self.steps = self._frames = 0
        self._error = torch.zeros((), device=crew.device)

    def count(self, pixels: Tensor, loss: Tensor, squared: Tensor) -> None:
        """One step more, which is told of now and then. pixels: [B, 3, F, H, W]"""
        self.steps += 1
        self._frames += pixels.shape[0] * pixels.shape[2]
        self._error += squared.detach()
        if self.steps % REPORT_EVERY == 0:
            quality = -10 * torch.log10(self._error / REPORT_EVERY / 4).item()
            self._crew.say(
                f"{self._clock.elapsed:6.1f} s step {self.steps} {'x'.join(map(str, pixels.shape[2:]))} "
                f"loss {loss.item():.4f} psnr {quality:.2f} frames {self._frames}"
            )
            self._error.zero_()


def main() -> None:
    """Train for the given time."""
    args, crew = arguments(), Crew()
    torch.backends.cudnn.benchmark_limit = 3  # trying every way of every shape takes minutes
    clock, course = Clock(args.minutes), Course(args)
    torch.manual_seed(crew.rank)
    vae = first_vae(args, crew)
    if course.begins_with_clips:
        begin_clips(vae, inflated=args.further)
    fast.prepare(vae, crew, static=None)
    average, tally = Average(vae), Tally(crew, clock)
    optimizer = Muon(vae.parameters(), ends(vae), weight_decay=0.01)
    parameters = list(vae.parameters())
    train = projector(args.data, "photos", crew.device)
    source = films(args.data, no_tokens, args.batch, 1 + crew.rank, args.workers)
    check = watched_clips(args, crew) if crew.rank == 0 else torch.empty(0)
    crew.say(f"{sum(p.numel() for p in parameters) / 1e6:.2f} M parameters, {clock.elapsed:.0f} s to start")
    next_look, stage = 30.0, course.first
    while (progress := crew.agree(clock.progress)[0]) < 1:
        before, stage = stage, course.at(progress)
        if before.frames == 1 < stage.frames:
            begin_clips(vae)
            average = Average(vae)
        pixels = draw(stage, source, train, crew)
        with crew.autocast():
            loss, squared = picture_losses(vae, pixels) if stage.frames == 1 else clip_losses(vae, pixels)
        torch.autograd.backward(loss)
        crew.share_gradients(parameters)
        if not torch.nn.utils.clip_grad_norm_(parameters, 1.0).isfinite():
            crew.say(f"step {tally.steps}: a gradient is not finite, left out")
            vae.zero_grad(set_to_none=True)
            continue
        optimizer.step(args.lr * warm_then_fall(progress, tally.steps, 60))
        average.update(vae, min(0.998, (tally.steps + 1) / (tally.steps + 10)))
        tally.count(pixels, loss, squared)
        if crew.rank == 0 and clock.elapsed > next_look:
            next_look += 60
            _look(vae, average, check, crew, args.out)
    if crew.rank == 0:
        _finish(vae, average, args, crew)
        crew.say(f"done: {tally.steps} steps, {clock.elapsed:.0f} s")


def _look(vae: VAE, average: Average, check: Tensor, crew: Crew, out: Path) -> None:
    own = {name: value.clone() for name, value in vae.state_dict().items()}
    vae.load_state_dict(average.weights)
    _, quality = examine(vae, check, crew)
    crew.say(
        f"        validation, {check.shape[2]} frames: psnr median {quality.mean(1).median():.2f}, "
        f"first {quality[:, 0].median():.2f}, last {quality[:, -1].median():.2f}"
    )
    crew.say(f"        {bearing(vae, check[:, :, :1], crew)}")
    vae.load_state_dict(own)
    save(average, out, None)


def _finish(vae: VAE, average: Average, args: argparse.Namespace, crew: Crew) -> None:
    vae.load_state_dict({name: value.to(torch.bfloat16).float() for name, value in average.weights.items()})
    count = 2 if args.toy else 32
    pixels = validation_clips(args.data, crew, count, 9 if args.toy else WINDOW)
    pixels = pixels[..., :48, :64] if args.toy else pixels
    latents, quality = examine(vae, pixels, crew)
    axes = (0, 2, 3, 4)
    save(average, args.out, {"mean": latents.mean(axes).tolist(), "std": latents.std(axes).tolist()})
    crew.say(
        f"held out, {pixels.shape[2]} frames: psnr median {quality.mean(1).median():.2f} "
        f"min {quality.mean(1).min():.2f}"
    )
    for frame in (0, 4, 8, 16, 40, 80):
        if frame < pixels.shape[2]:
            crew.say(f"    frame {frame}: psnr median {quality[:, frame].median():.2f}")
    crew.say(
        f"latent mean within {latents.mean(axes).abs().max():.2f}, "
        f"std {latents.std(axes).min():.2f} to {latents.std(axes).max():.2f}"
    )
    crew.say(bearing(vae, pixels[:, :, :1], crew))
    rows = []
    for index in range(min(count, 8)):
        with torch.no_grad(), crew.autocast():
            ours = vae.decode_all(latents[index : index + 1], 5)
        frames = [0, pixels.shape[2] // 2, pixels.shape[2] - 1]
        rows.append(torch.cat([pixels[index, :, frames], ours[0, :, frames]], dim=1).transpose(0, 1))
    sheet(rows, args.out / "vae.png", 0.75)


if __name__ == "__main__":
    main()
