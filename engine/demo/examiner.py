"""Looks at a network in training: its loss and its pictures, on photographs that it is not trained on."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.condition import WINDOW_LATENT_FRAMES, condition
from engine.demo.captions import TEXT_TOKENS
from engine.demo.clips import centre, film_to, load_photos
from engine.demo.pool import Told, encode_film
from engine.demo.reading import read
from engine.demo.student import generate, velocity
from engine.demo.tokens import Tokens
from engine.demo.training import Crew, films, projector, sheet
from engine.dit import DiT
from engine.vae import VAE

TRIALS = (
    ("astronaut", "An astronaut. Camera: slow push in."),
    ("astronaut", "An astronaut in an orange suit. (at 2 seconds: it begins to snow). Camera: static."),
    ("chelsea", "Camera: pan left."),
    ("chelsea", "The cat looks around. (at 1.5 seconds: night falls)."),
    ("coffee", "A cup of coffee. Camera: pan right."),
    ("coffee", "A cup. (at 0 seconds: a balloon crosses from left to right) (at 3 seconds: the light turns golden)."),
    ("rocket", "A rocket on the pad. Camera: tilt up."),
    ("rocket", "(at 1 second: fog rolls in). Camera: hold still."),
    ("explore_monuments-14", "Camera: zoom out."),
    ("explore_monuments-02", "(at 0.5 seconds: a car enters from the left) (at 2.5 seconds: it jumps). Static."),
    ("erase-10", "day breaks"),
    ("erase-21", "Nothing that anybody knows of."),
)  # fmt: skip


class Examiner:
    """Looks at how the network does on photographs that it was not trained on."""

    def __init__(self, data: Path, vae: VAE, encoder: nn.Module, encode: Tokens, crew: Crew, checks: int) -> None:
        """checks: how many films the loss is measured on."""
        self.vae, self.crew = vae, crew
        self.film = film_to(next(films(data, encode, checks, 4242, 0)), crew.device)
        self.latents, self.anchors = encode_film(self.film, projector(data, "validation", crew.device), vae)
        self.noise = self._noise(0, checks)
        names = [path.stem for path in sorted((data / "validation").glob("*.jpg"))]
        pictures = load_photos(data / "validation", crew.device)
        index = [next(i for i, name in enumerate(names) if name.endswith(trial)) for trial, _ in TRIALS]
        self.trial_anchors = vae.encode(torch.stack([centre(pictures[i]) for i in index])[:, :, None])
        ids = [encode(text) for _, text in TRIALS]
        tokens = torch.tensor([row + [0] * (TEXT_TOKENS - len(row)) for row in ids], device=crew.device)
        with torch.no_grad():
            self.trials = Told(read(encoder, tokens), self._relay(len(ids)))
            self.told = Told(read(encoder, self.film.tokens[:, 1, 0]), self._relay(checks))

    def _relay(self, count: int) -> Tensor:
        """Times as text alone. [count, T, L]"""
        return torch.zeros(count, WINDOW_LATENT_FRAMES, TEXT_TOKENS, device=self.crew.device)

    def _noise(self, seed: int, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, 16, 21, 18, 32, generator=generator).to(self.crew.device)

    @torch.no_grad()
    def loss(self, dit: DiT) -> list[float]:
        """Loss at noise levels 1, 0.8 and 0.4: films' second windows, with true tails."""
        given = condition(self.anchors, self.latents[:, 0, :, -1:].float())
        target = self.latents[:, 1].float()
        values = []
        for level in (1.0, 0.8, 0.4):
            sigma = torch.full((len(target),), level, device=target.device)
            noisy = (1 - level) * target + level * self.noise
            with torch.compiler.set_stance("force_eager"), self.crew.autocast():
                predicted = velocity(dit, noisy, given, sigma, self.told)
            values.append(F.mse_loss(predicted, self.noise - target).item())
        return values

    @torch.no_grad()
    def show(self, dit: DiT, steps: int, path: Path) -> None:
        """A contact sheet of two windows of every trial: the anchor, five frames of the first, four of the second."""
        count = len(self.trial_anchors)
        nothing = Told(self.trials.texts[-1:].expand(count, -1, -1), self.trials.relay)
        with torch.compiler.set_stance("force_eager"), self.crew.autocast():
            given = condition(self.trial_anchors, None)
            first = generate(dit, given, self.trials, self._noise(1, count), steps)
            given = condition(self.trial_anchors, first[:, :, -1:])
            second = generate(dit, given, nothing, self._noise(2, count), steps)
        rows = []
        for i in range(count):
            frames = [self.vae.decode_all(self.trial_anchors[i : i + 1])[0]]
            for latents, wanted in ((first, [0, 20, 40, 60, 80]), (second, [0, 5, 40, 80])):
                frames.append(self.vae.decode_all(latents[i : i + 1], 10)[0][:, wanted])
            rows.append(torch.cat(frames, dim=1).transpose(0, 1))
        sheet(rows, path, 0.5)
