"""Train the demonstration model's VAE: single pictures first, then clips, at the end whole windows.

    torchrun --nproc_per_node=2 -m engine.demo.train_vae --data .train/data --out $OUT --minutes 7

The loss is the difference of pixels and of their slopes; every latent channel is held at mean 0 and variance 1, with a
little noise on top, in place of a variational posterior. Half of every
batch is decoded from latents that were shifted and scaled: they must give the shifted and scaled picture, and be its
latents, so that the network that animates latents finds movement simple (as in EQ-VAE, arXiv 2502.09509, here for what
a camera does). When clips begin, the network is a picture VAE for every frame
(engine.demo.inflate) and its encoder is done: a latent is its last frame as a picture, whatever came before, so that
latents of a still picture are all alike and overlapping windows agree. Only the decoder goes on: it learns to fill in
the three frames between, and to show the same pixels wherever in a film a window begins.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
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
from engine.vae import VAE, VAEConfig
from storage.timeline import DROPPED_FRAMES

LATENT_NOISE = 0.08  # added to latents of about unit variance, so that the decoder forgives small errors
SCALE_WEIGHT = 0.1
MOVED_SHARE = 0.5  # of the pictures
MOVED_WEIGHT = 0.25  # of the difference between moved latents and the latents of what was moved
NEAREST, FARTHEST = 0.45, 1.25  # of the frame: what moved latents show of it, most of them coming nearer
JOIN_WEIGHT = 1.0  # of what a later beginning changes in the pixels
SHIFT = 2  # latent frames by which one of two windows of a clip begins later
# progress up to which a stage lasts, frames of a clip, height and width of its crop
STAGES = ((0.4, 1, 144, 256), (0.8, 25, 112, 160), (1.0, 57, 80, 96))


def clips(batch: Tensor, length: int, height: int, width: int) -> Tensor:
    """A random crop of the same place in every clip. [B, 3, F, H, W] -> [B, 3, length, height, width]"""
    top = int(torch.randint(batch.shape[3] - height + 1, ()))
    left = int(torch.randint(batch.shape[4] - width + 1, ()))
    return batch[:, :, :length, top : top + height, left : left + width]


def moved(x: Tensor, theta: Tensor) -> Tensor:
    """Shift and scale every frame. x: [B, C, T, H, W], theta: [B, 2, 3]"""
    frames = rearrange(x, "b c t h w -> b (c t) h w").float()
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    out = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
    return rearrange(out, "b (c t) h w -> b c t h w", c=x.shape[1])


def moves(count: int, device: torch.device) -> Tensor:
    """What a camera may do to a picture: shifts of up to a tenth of the frame, and scales. [count, 2, 3]"""
    theta = torch.zeros(count, 2, 3, device=device)
    scale = torch.empty(count, device=device).uniform_(NEAREST, FARTHEST)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.where(torch.rand(count, device=device) < 0.25, 1.0, scale)
    theta[:, :, 2].uniform_(-0.1, 0.1)
    return theta


def losses(vae: VAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the mean squared error of what was not moved. pixels: [B, 3, 1, H, W]"""
    batch = pixels.shape[0]
    some = int(batch * MOVED_SHARE)
    theta = moves(some, pixels.device)
    elsewhere = moved(pixels[:some], theta)
    mean, _ = vae.encode_distribution(torch.cat([pixels, elsewhere]))
    mean, theirs = mean[:batch], mean[batch:]
    shifted = moved(mean[:some], theta)
    latents = torch.cat([shifted, mean[some:]]).float()
    target = torch.cat([elsewhere, pixels[some:]])
    error = vae.reconstruct(latents + torch.randn_like(latents) * LATENT_NOISE) - target
    axes = (0, 2, 3, 4)
    scale_error = mean.mean(axes).square().mean() + (mean.std(axes) - 1).square().mean()
    unlike = (shifted - theirs).square().mean()
    return pixel_loss(error) + SCALE_WEIGHT * scale_error + MOVED_WEIGHT * unlike, error[some:].square().mean()


def clip_losses(vae: VAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The same for the decoder alone, of two windows of each clip, which must agree. pixels: [B, 3, F, H, W]

    Most of the later windows begin with a latent that is off or from elsewhere, as the engine's do; what a film does
    not show of them, their first five frames, does not count.
    """
    batch = pixels.shape[0]
    with torch.no_grad():
        keys = rearrange(pixels[:, :, ::4], "b c t h w -> (b t) c 1 h w")
        latents = rearrange(vae.encode_distribution(keys)[0], "(b t) c 1 h w -> b c t h w", b=batch)
        some = int(batch * MOVED_SHARE)
        theta = moves(some, pixels.device)
        latents = torch.cat([moved(latents[:some], theta), latents[some:]])
        pixels = torch.cat([moved(pixels[:some], theta), pixels[some:]])
        latents = latents + torch.randn_like(latents) * LATENT_NOISE
    early, late = vae.reconstruct(torch.cat([latents[:, :, :-SHIFT], estranged(latents[:, :, SHIFT:])])).chunk(2)
    jump = late[:, :, DROPPED_FRAMES : -4 * SHIFT] - early[:, :, 4 * SHIFT + DROPPED_FRAMES :]
    first = early - pixels[:, :, : -4 * SHIFT]
    then = late[:, :, DROPPED_FRAMES:] - pixels[:, :, 4 * SHIFT + DROPPED_FRAMES :]
    loss = 0.5 * (pixel_loss(first) + pixel_loss(then)) + JOIN_WEIGHT * (jump.square() + 1e-5).sqrt().mean()
    return loss, first.square().mean()


def estranged(latents: Tensor) -> Tensor:
    """Windows whose first latent is their own, noisy, or that of another time, a third each. [B, 16, T, h, w]"""
    batch, frames = latents.shape[0], latents.shape[2]
    kind = torch.randint(3, (batch, 1, 1, 1), device=latents.device)
    own = latents[:, :, 0]
    noisy = own + torch.randn_like(own) * 0.5 * torch.rand(batch, 1, 1, 1, device=latents.device)
    other = latents[torch.arange(batch), :, torch.randint(frames, (batch,))]
    first = torch.where(kind == 0, own, torch.where(kind == 1, noisy, other))
    return torch.cat([first[:, :, None], latents[:, :, 1:]], dim=2)


def pixel_loss(error: Tensor) -> Tensor:
    """Of pixels, of their slopes, and of their changes in time. error: [B, 3, F, H, W]"""
    slopes = (error.diff(dim=3).square() + 1e-4).sqrt().mean() + (error.diff(dim=4).square() + 1e-4).sqrt().mean()
    steps = (error.diff(dim=2).square() + 1e-4).sqrt().mean() if error.shape[2] > 1 else 0.0
    return (error.square() + 4e-4).sqrt().mean() + 3 * error.square().mean() + 0.5 * slopes + 0.5 * steps


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


def draw(stage: tuple[float, int, int, int], source: object, draws: Projector, crew: Crew) -> Tensor:
    """A batch of clips for a stage. -> [B, 3, F, H, W]"""
    film = film_to(next(source), crew.device)  # type: ignore[call-overload]
    _, length, height, width = stage
    if length > 1:
        film = Film(*[rows[: (len(rows) + 1) // 2] for rows in film])
    batch = film.camera.shape[0]
    if length == 1:
        frames = torch.randint(FILM, (batch, 4), device=crew.device)
        shown, _ = draws.draw(film, frames)
        return rearrange(shown, "b c n h w -> (b n) c 1 h w")
    start = torch.randint(FILM - length + 1, (batch, 1), device=crew.device)
    shown, _ = draws.draw(film, start + torch.arange(length, device=crew.device))
    return clips(shown, length, height, width)


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


def ends(vae: VAE) -> list[nn.Parameter]:
    """The layers whose scale matters, next to pixels and latents: AdamW's."""
    layers = (vae.encoder.conv1, vae.encoder.head, vae.conv1, vae.conv2, vae.decoder.conv1, vae.decoder.head)
    return [parameter for layer in layers for parameter in layer.parameters()]


def main() -> None:
    """Train for the given time."""
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
    args = parser.parse_args()
    crew = Crew()
    torch.backends.cudnn.benchmark_limit = 3  # trying every way of every shape takes minutes
    clock = Clock(args.minutes)
    torch.manual_seed(crew.rank)
    vae = VAE(VAEConfig(**VAE_SIZES, latent_mean=(0.0,) * 16, latent_std=(1.0,) * 16)).to(crew.device)
    if args.init:
        vae.load_state_dict({name: value.float() for name, value in load_file(args.init).items()})
    elif crew.together:
        for parameter in vae.parameters():
            torch.distributed.broadcast(parameter.data, 0)
    begins = (args.only or "clips") if args.init else "pictures"
    if begins == "clips":
        begin_clips(vae, inflated=args.further)
    fast.prepare(vae, crew, static=None)
    average = Average(vae)
    optimizer = Muon(vae.parameters(), ends(vae), weight_decay=0.01)
    parameters = list(vae.parameters())
    train = projector(args.data, "photos", crew.device)
    source = films(args.data, no_tokens, args.batch, 1 + crew.rank, args.workers)
    check = validation_clips(args.data, crew, 4 if args.toy else 16, 17) if crew.rank == 0 else torch.empty(0)
    check = check[..., :48, :64] if args.toy and crew.rank == 0 else check
    crew.say(f"{sum(p.numel() for p in parameters) / 1e6:.2f} M parameters, {clock.elapsed:.0f} s to start")
    step, next_look, seen, total = 0, 30.0, 0, torch.zeros((), device=crew.device)
    stages = [(end, min(frames, 25), 48, 64) for end, frames, _, _ in STAGES] if args.toy else list(STAGES)
    begin = STAGES[1 if args.further else 0][0] if begins == "clips" else 0.0
    stage = stages[1] if begins == "clips" else stages[0]
    while (progress := crew.agree(clock.progress)[0]) < 1:
        at = 0.0 if args.only == "pictures" else begin + progress * (1 - begin)
        before, stage = stage, next(stage for stage in stages if at <= stage[0])
        if before[1] == 1 < stage[1]:
            begin_clips(vae)
            average = Average(vae)
        pixels = draw(stage, source, train, crew)
        with crew.autocast():
            loss, squared = losses(vae, pixels) if stage[1] == 1 else clip_losses(vae, pixels)
        torch.autograd.backward(loss)
        crew.share_gradients(parameters)
        if not torch.nn.utils.clip_grad_norm_(parameters, 1.0).isfinite():
            crew.say(f"step {step}: a gradient is not finite, left out")
            vae.zero_grad(set_to_none=True)
            continue
        optimizer.step(args.lr * warm_then_fall(progress, step, 60))
        average.update(vae, min(0.998, (step + 1) / (step + 10)))
        step, seen, total = step + 1, seen + pixels.shape[0] * pixels.shape[2], total + squared.detach()
        if step % 50 == 0:
            noise = -10 * torch.log10(total / 50 / 4).item()
            crew.say(
                f"{clock.elapsed:6.1f} s step {step} {'x'.join(map(str, pixels.shape[2:]))} loss {loss.item():.4f} "
                f"psnr {noise:.2f} frames {seen}"
            )
            total.zero_()
        if crew.rank == 0 and clock.elapsed > next_look:
            next_look += 60
            _look(vae, average, check, crew, args.out)
    if crew.rank == 0:
        _finish(vae, average, args, crew)
        crew.say(f"done: {step} steps, {clock.elapsed:.0f} s")


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
