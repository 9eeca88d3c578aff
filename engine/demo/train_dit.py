"""Train the demonstration model's DiT on the VAE's latents, for a text encoder that can read.

    torchrun --nproc_per_node=2 -m engine.demo.train_dit --data .train/data --vae .train/vae --text .train/text \\
        --out $OUT --minutes 8 [--init FOLDER]

Flow matching: the network sees (1 - sigma) latents + sigma noise beside the condition of the engine, and is asked for
noise - latents. What is off in large patches counts more: the time and strength of all that is asked for are there,
and next to the texture, which nobody can foresee at high noise, they would hardly be heard. The first frames of
continuations count more too, since they are the join. Most captions have their times held as engine.relay holds them.
Now and then the network films windows by itself, some of them many times on from their own end; a part of the
continuations begins there (error recycling, as SVI does it), so that it learns to come back to the anchor.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from engine.demo import fast
from engine.demo.captions import TEXT_TOKENS
from engine.demo.config import DIT_SIZES, STEPS, VAE_SIZES
from engine.demo.examiner import Examiner
from engine.demo.muon import Muon
from engine.demo.pool import Lesson, Pool
from engine.demo.reading import load_encoder, make_encoder
from engine.demo.student import adam_only, generate, load, new_dit, save, velocity
from engine.demo.tokens import Tokens
from engine.demo.training import Average, Clock, Crew, films, projector, warm_then_fall
from engine.dit import DiT, DiTConfig
from engine.vae import VAE, VAEConfig

SPRITE_WEIGHT = 3.0  # sprites are small, so what happens to them counts more
PATCHES, PATCH_WEIGHT = (3, 4), 16.0  # rows and columns of the large patches
JOIN_WEIGHTS = (1.0, 3.0, 3.0, 2.0, 1.5)  # of the first latent frames of continuations
OWN = 0.6  # share of the second windows that go on from what the network has filmed, where it has
REHEARSE_EVERY = 12  # steps
AGREE_EVERY = 10  # steps; asking more often makes the GPU wait
TOY = DiTConfig(dim=64, ffn_dim=64, heads=1, layers=2, text_dim=192, text_len=TEXT_TOKENS)
NOISES = ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1.0))  # whose losses are printed


def draw_sigmas(count: int, device: torch.device) -> Tensor:
    """Noise levels to train on: mostly high, where few steps are taken; some at exactly 1. [count]"""
    even = torch.rand(count, device=device)
    sigma = 4 * even / (1 + 3 * even)
    return torch.where(torch.rand(count, device=device) < 0.15, torch.ones_like(sigma), sigma)


def load_vae(folder: Path, crew: Crew) -> VAE:
    """The trained VAE, frozen, in bfloat16."""
    statistics = json.loads((folder / "vae_statistics.json").read_text())
    vae = VAE(VAEConfig(**VAE_SIZES, latent_mean=tuple(statistics["mean"]), latent_std=tuple(statistics["std"])))
    vae.load_state_dict({name: value.float() for name, value in load_file(folder / "vae.safetensors").items()})
    vae = vae.to(crew.device, torch.bfloat16).requires_grad_(requires_grad=False).channels_last()
    fast.prepare(vae, crew, static=False)
    return vae


def step_loss(dit: DiT, lesson: Lesson, crew: Crew) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, the loss of each window, and its noise level."""
    sigma = draw_sigmas(len(lesson.latents), crew.device)
    noise = torch.randn_like(lesson.latents)
    level = sigma[:, None, None, None, None]
    noisy = (1 - level) * lesson.latents + level * noise
    with crew.autocast():
        predicted = velocity(dit, noisy, lesson.condition, sigma, lesson.told)
    error = predicted - (noise - lesson.latents)
    squared = error.square()
    each = squared.detach().mean((1, 2, 3, 4))
    weight = 1 + SPRITE_WEIGHT * lesson.sprites[:, None]
    weight[:, :, : len(JOIN_WEIGHTS)] *= join_weights(lesson.continues)
    coarse = F.adaptive_avg_pool2d(error.flatten(1, 2), PATCHES).square().mean()
    return (squared * weight).mean() + PATCH_WEIGHT * coarse, each, sigma


def join_weights(continues: Tensor) -> Tensor:
    """continues: [B] -> [B, 1, frames, 1, 1]"""
    more = torch.tensor(JOIN_WEIGHTS, device=continues.device) - 1
    return (1 + continues[:, None].float() * more)[:, None, :, None, None]


def main() -> None:
    """Train for the given time."""
    parser = argparse.ArgumentParser(description="Train the demonstration model's DiT and text encoder.")
    parser.add_argument("--data", type=Path, default=Path(".train/data"))
    parser.add_argument("--vae", type=Path, default=Path(".train/vae"))
    parser.add_argument("--text", type=Path, default=Path(".train/text"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="a checkpoint, or the weights that ship, to go on from")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--end", type=float, default=0.02, help="share of the learning rate that is left at the end")
    parser.add_argument("--pool", type=int, default=1500, help="films")
    parser.add_argument("--renewal", type=float, default=0.25, help="share of the time in which new films are made")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6, help="Euler steps of the pictures that are looked at")
    parser.add_argument("--checks", type=int, default=16, help="films of which the validation loss is measured")
    parser.add_argument("--films", type=int, default=4, help="films that are made at once")
    parser.add_argument("--seed", type=int, default=5, help="of the films; take another one to go on")
    parser.add_argument("--toy", action="store_true", help="a small network and no sheet, to see that the command runs")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    Course(args).run()


class Course:
    """One training, from start to end."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.crew = crew = Crew()
        self.clock = Clock(args.minutes)
        torch.manual_seed(11)
        self.dit = new_dit(TOY if args.toy else DIT_SIZES).to(crew.device)
        if args.init:
            load(self.dit, args.init)
        torch.manual_seed(100 + crew.rank)
        self.encode = Tokens(args.text / "tokenizer.json")
        self.encoder = make_encoder().to(crew.device).requires_grad_(requires_grad=False)
        load_encoder(self.encoder, args.text / "encoder.safetensors")
        self.vae = load_vae(args.vae, crew)
        self.draws = projector(args.data, "photos", crew.device)
        seed = args.seed * 10 + crew.rank
        self.source = films(args.data, self.encode, args.films, seed, args.workers, self.encode.places)
        self.pool = Pool.empty(args.pool, (TEXT_TOKENS, DIT_SIZES.text_dim), crew.device)
        self.parameters = list(self.dit.parameters())
        self.optimizer = Muon(self.parameters, adam_only(self.dit), weight_decay=0.01)
        self.average = Average(self.dit)
        looks = crew.rank == 0
        self.examiner = Examiner(args.data, self.vae, self.encoder, self.encode, crew, args.checks) if looks else None
        if crew.gpu:
            for block in self.dit.blocks:
                block.compile()
        self.step, self.renewing = 0, 0.0

    def renew(self) -> None:
        """Make a few new films."""
        start = self.clock.elapsed
        self.pool.renew(self.source, self.draws, self.vae, self.encoder, self.crew.device)
        if self.crew.gpu:
            torch.cuda.synchronize()
        self.renewing += self.clock.elapsed - start

    def run(self) -> None:
        """Fill the pool, then learn until the time is over."""
        args, crew = self.args, self.crew
        sizes = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (self.dit, self.encoder)]
        crew.say(f"{sizes[0]:.2f} M in the DiT, {sizes[1]:.2f} M in the text encoder")
        while self.pool.filled < min(args.pool, 4 * args.batch):
            self.renew()
        crew.say(f"{self.clock.elapsed:.0f} s to start, {self.pool.filled} films")
        self.renewing, start, next_look = 0.0, self.clock.elapsed, 45.0
        recent: list[Tensor] = []
        while True:
            if self.step % AGREE_EVERY == 0:
                due = args.renewal * (self.clock.elapsed - start)
                hungry = self.renewing < due or self.pool.filled < args.pool // 4
                progress, renewal = crew.agree(self.clock.progress, float(hungry))
                if progress >= 1:
                    break
                while renewal:
                    self.renew()
                    due = args.renewal * (self.clock.elapsed - start)
                    (renewal,) = crew.agree(float(self.renewing < due))
            recent.append(self.learn(progress))
            if self.step % 100 == 0:
                self.report(torch.stack(recent))
                recent = []
            if self.examiner and self.clock.elapsed > next_look:
                next_look += 75
                self.look(self.examiner)
        if self.examiner:
            self.look(self.examiner, None if args.toy else args.out / "sheet.png")
            crew.say(f"done: {self.step} steps, {self.clock.elapsed:.0f} s")

    @torch.no_grad()
    def rehearse(self) -> None:
        """Film a few windows from noise, as the engine does, and keep their ends."""
        scene = self.pool.rehearsal(self.args.batch)
        noise = torch.randn(len(scene.films), 16, *scene.condition.shape[2:], device=self.crew.device)
        with self.crew.autocast():
            self.pool.remember(scene.films, generate(self.dit, scene.condition, scene.told, noise, STEPS))

    def learn(self, progress: float) -> Tensor:
        """One step; noise levels and losses of its windows, [2, B]."""
        if self.step % REHEARSE_EVERY == 0 and (self.step or self.args.init):
            self.rehearse()
        lesson = self.pool.lesson(self.args.batch, own_share=OWN)
        loss, each, sigma = step_loss(self.dit, lesson, self.crew)
        torch.autograd.backward(loss)
        self.crew.share_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step(self.args.lr * warm_then_fall(progress, self.step, 100, self.args.end))
        self.step += 1
        self.average.update(self.dit, min(0.999, (self.step + 1) / (self.step + 10)))
        return torch.stack([sigma, each])

    def report(self, recent: Tensor) -> None:
        """Print the losses. recent: [n, 2, B]"""
        sigma, each = recent[:, 0].flatten(), recent[:, 1].flatten()
        bins = [each[(sigma > low) & (sigma <= high)].mean().item() for low, high in NOISES]
        self.crew.say(
            f"{self.clock.elapsed:6.1f} s step {self.step} loss {each.mean().item():.4f} "
            f"by noise {' '.join(f'{loss:.3f}' for loss in bins)} making films {self.renewing:.0f} s"
        )

    def look(self, examiner: Examiner, sheet: Path | None = None) -> None:
        """Validation loss with averaged weights, a checkpoint, and a sheet."""
        own = {key: value.clone() for key, value in self.dit.state_dict().items()}
        self.dit.load_state_dict(self.average.weights)
        losses = examiner.loss(self.dit)
        save(self.average.weights, self.args.out)
        if sheet:
            examiner.show(self.dit, self.args.steps, sheet)
        self.dit.load_state_dict(own)
        self.crew.say(f"        validation at noise 1, 0.8, 0.4: {' '.join(f'{loss:.4f}' for loss in losses)}")


if __name__ == "__main__":
    main()
