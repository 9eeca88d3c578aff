"""Teach the demonstration model's text encoder to read, then train its DiT on the VAE's latents.

    torchrun --nproc_per_node=2 -m engine.demo.train_dit --data .train/data --vae .train/vae --text .train/text \\
        --out $OUT --minutes 8 [--reading 40] [--init FOLDER]

Flow matching: the network sees (1 - sigma) latents + sigma noise beside the condition of the engine, and is asked for
noise - latents. A part of the continuations begins at a tail that the network itself has made (error recycling, as SVI
does it), so that it learns to come back to the anchor.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.demo import fast
from engine.demo.captions import TEXT_TOKENS
from engine.demo.config import DIT_SIZES, VAE_SIZES
from engine.demo.examiner import Examiner
from engine.demo.muon import Muon
from engine.demo.pool import Lesson, Pool
from engine.demo.reading import Pages, Tokens, learn_to_read
from engine.demo.student import Student, load, save
from engine.demo.training import Average, Clock, Crew, films, projector, warm_then_fall
from engine.dit import DiTConfig
from engine.vae import VAE, VAEConfig

SPRITE_WEIGHT = 4.0  # sprites are small, so what happens to them counts more
TOY = DiTConfig(dim=64, ffn_dim=64, heads=1, layers=2, text_dim=192, text_len=TEXT_TOKENS)
NOISES = ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1.0))  # whose losses are printed


def draw_sigmas(count: int, device: torch.device) -> Tensor:
    """Noise levels to train on: mostly high, where few steps are taken; some at exactly 1. [count]"""
    even = torch.rand(count, device=device)
    sigma = 3 * even / (1 + 2 * even)
    return torch.where(torch.rand(count, device=device) < 0.1, torch.ones_like(sigma), sigma)


def load_vae(folder: Path, crew: Crew) -> VAE:
    """The trained VAE, frozen, in bfloat16 on a GPU."""
    statistics = json.loads((folder / "vae_statistics.json").read_text())
    vae = VAE(VAEConfig(**VAE_SIZES, latent_mean=tuple(statistics["mean"]), latent_std=tuple(statistics["std"])))
    vae.load_state_dict({name: value.float() for name, value in load_file(folder / "vae.safetensors").items()})
    dtype = torch.bfloat16 if crew.gpu else torch.float32
    vae = vae.to(crew.device, dtype).requires_grad_(requires_grad=False).channels_last()
    fast.prepare(vae, crew, static=False)
    return vae


def step_loss(student: Student, lesson: Lesson, crew: Crew) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, the loss of each window, its noise level, and the last latent frame that the network believes in."""
    sigma = draw_sigmas(len(lesson.latents), crew.device)
    noise = torch.randn_like(lesson.latents)
    level = sigma[:, None, None, None, None]
    noisy = (1 - level) * lesson.latents + level * noise
    with crew.autocast():
        velocity = student(noisy, lesson.condition, sigma, lesson.tokens)
    squared = (velocity - (noise - lesson.latents)).square()
    each = squared.detach().mean((1, 2, 3, 4))
    believed = (noisy[:, :, -1:] - level * velocity[:, :, -1:]).detach()
    return (squared * (1 + SPRITE_WEIGHT * lesson.sprites[:, None])).mean(), each, sigma, believed


def main() -> None:
    """Train for the given time."""
    parser = argparse.ArgumentParser(description="Train the demonstration model's DiT and text encoder.")
    parser.add_argument("--data", type=Path, default=Path(".train/data"))
    parser.add_argument("--vae", type=Path, default=Path(".train/vae"))
    parser.add_argument("--text", type=Path, default=Path(".train/text"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="a checkpoint, or the weights that ship, to go on from")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument(
        "--reading", type=float, default=0.0, help="seconds in which the text encoder learns to read first"
    )
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
        self.student = Student(TOY if args.toy else DIT_SIZES).to(crew.device)
        if args.init:
            load(self.student, args.init)
        torch.manual_seed(100 + crew.rank)
        self.encode = Tokens(args.text / "tokenizer.json")
        self.vae = load_vae(args.vae, crew)
        self.draws = projector(args.data, "photos", crew.device)
        self.source = films(args.data, self.encode, args.films, args.seed * 10 + crew.rank, args.workers)
        self.pool = Pool.empty(args.pool, TEXT_TOKENS, crew.device)
        if args.reading:
            words = (args.data / "words.txt").read_text(encoding="utf-8").split()
            pages = Pages(words, self.encode, 6 * args.batch, 7 + crew.rank, args.workers)
            learn_to_read(self.student.encoder, self.student.teller, pages, crew, args.reading)
        self.student.encoder.requires_grad_(requires_grad=False)  # it can read now
        self.student.teller.requires_grad_(requires_grad=False)
        self.parameters = list(self.student.dit.parameters())
        self.optimizer = Muon(self.parameters, self.student.adam_only(), weight_decay=0.01)
        self.average = Average(self.student)
        self.examiner = Examiner(args.data, self.vae, self.encode, crew, args.checks) if crew.rank == 0 else None
        if crew.gpu:
            for block in self.student.dit.blocks:
                block.compile()
        self.step, self.renewing = 0, 0.0

    def renew(self) -> None:
        """Make a few new films."""
        start = self.clock.elapsed
        self.pool.renew(self.source, self.draws, self.vae, self.crew.device)
        if self.crew.gpu:
            torch.cuda.synchronize()
        self.renewing += self.clock.elapsed - start

    def run(self) -> None:
        """Fill the pool, then learn until the time is over."""
        args, crew = self.args, self.crew
        sizes = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (self.student.dit, self.student.encoder)]
        crew.say(f"{sizes[0]:.2f} M in the DiT, {sizes[1]:.2f} M in the text encoder")
        while self.pool.filled < min(args.pool, 4 * args.batch):
            self.renew()
        crew.say(f"{self.clock.elapsed:.0f} s to start, {self.pool.filled} films")
        self.renewing, start, next_look = 0.0, self.clock.elapsed, 45.0
        recent: list[Tensor] = []
        while True:
            due = args.renewal * (self.clock.elapsed - start)
            hungry = self.renewing < due or self.pool.filled < args.pool // 4
            progress, renewal = crew.agree(self.clock.progress, float(hungry))
            if progress >= 1:
                break
            if renewal:
                self.renew()
            recent.append(self.learn(progress))
            if self.step % 50 == 0:
                self.report(torch.stack(recent))
                recent = []
            if self.examiner and self.clock.elapsed > next_look:
                next_look += 75
                self.look(self.examiner)
        if self.examiner:
            self.look(self.examiner, None if args.toy else args.out / "sheet.png")
            crew.say(f"done: {self.step} steps, {self.clock.elapsed:.0f} s")

    def learn(self, progress: float) -> Tensor:
        """One step; noise levels and losses of its windows, [2, B]."""
        lesson = self.pool.lesson(self.args.batch, own_share=0.4 if self.step > 300 or self.args.init else 0.0)
        loss, each, sigma, believed = step_loss(self.student, lesson, self.crew)
        torch.autograd.backward(loss)
        first = (lesson.windows == 0) & (sigma < 0.85)
        self.pool.tails[lesson.films[first]] = believed[first].float()
        self.pool.own[lesson.films[first]] = True
        self.crew.share_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if bool(norm.isfinite()):
            self.optimizer.step(self.args.lr * warm_then_fall(progress, self.step, 100, self.args.end))
        else:
            self.crew.say(f"step {self.step}: a gradient is not finite, left out")
            self.student.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.student, min(0.999, (self.step + 1) / (self.step + 10)))
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
        own = {key: value.clone() for key, value in self.student.state_dict().items()}
        self.student.load_state_dict(self.average.weights)
        losses = examiner.loss(self.student)
        save(self.average.weights, self.args.out)
        if sheet:
            examiner.show(self.student, self.args.steps, sheet)
        self.student.load_state_dict(own)
        self.crew.say(f"        validation at noise 1, 0.8, 0.4: {' '.join(f'{loss:.4f}' for loss in losses)}")


if __name__ == "__main__":
    main()
