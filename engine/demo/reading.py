"""Learning to read: the demonstration model's text encoder, and what a caption says as numbers.

The tokenizer (engine/demo/tokens.py) puts a slot, one token of its own, for every latent frame of a window before any
text. Before anything moves, the text encoder learns to write into each slot what the caption asks for in that quarter
of a second. The network that animates then finds what a frame needs in one place, rather than in the words and numbers
of a sentence; the head that reads the slots while they are learned (Teller) is not shipped.

    B captions, L tokens, T latent frames of a window (21), K controls
"""

import argparse
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from engine.condition import WINDOW_LATENT_FRAMES
from engine.demo.captions import Beat, Page, Wording
from engine.demo.film import VELOCITY, Director, drift
from engine.demo.muon import Muon
from engine.demo.tokens import FIRST_SLOT, VOCABULARY, Tokens, make_tokenizer
from engine.demo.training import Clock, Crew
from engine.demo.words import EFFECTS, ENDS, MOVES, SPRITES

NAMES = (*(f"effect {n}" for n in EFFECTS), *(f"end {n}" for n in ENDS), *(f"sprite {n}" for n in MOVES))
CAMERA_CONTROLS = 6  # how fast it moves, and where it has come to
LEVELS = CAMERA_CONTROLS + len(NAMES)  # numbers, the progress of what has begun among them; what follows is yes or no
CONTROLS = LEVELS + len(NAMES) + len(SPRITES)
PROGRESS_SECONDS = 2.0
REPORT_EVERY = 200  # steps
CERTAINTY = 8.0  # half of it is the log odds of a fitted head's yes
KEEP_WEIGHT = 0.3  # of how far an encoder that goes on strays from itself where it writes words
WIDTH, LAYERS = 192, 4


def controls(move: str | None, beats: list[Beat]) -> NDArray[np.float32]:
    """What a caption asks for every quarter of a second: camera, what has begun and how long ago. [T, K]"""
    wanted = np.zeros((WINDOW_LATENT_FRAMES, CONTROLS), np.float32)
    seconds = np.arange(WINDOW_LATENT_FRAMES, dtype=np.float32) / 4
    turns = [beat for beat in beats if beat.kind == "camera"]
    if move is not None:
        wanted[:, :3] = VELOCITY[move]
    elif not turns:
        wanted[:, :3] = drift(seconds)
    for beat in beats:
        begun = np.clip((seconds - beat.seconds) * 4 + 0.5, 0, 1)
        if beat.kind == "camera":
            wanted[begun >= 0.5, :3] = VELOCITY[beat.name]
        elif beat.kind != "nothing":
            name = NAMES.index(f"{beat.kind} {beat.name}")
            wanted[:, CAMERA_CONTROLS + name] = np.clip((seconds - beat.seconds) / PROGRESS_SECONDS, 0, 1)
            wanted[:, LEVELS + name] = begun
        if beat.kind == "sprite":
            kind = LEVELS + len(NAMES) + beat.sprite
            wanted[:, kind] = np.maximum(wanted[:, kind], begun)
    wanted[:, 3:6] = np.cumsum(wanted[:, :3], axis=0)
    wanted[:, :3] *= 15
    return wanted


class Pupil(Wording):
    """A wording that also keeps what each caption asks for."""

    def __init__(self, words: list[str], encode: Callable[[str], list[int]]) -> None:
        super().__init__(words, encode)
        self.pages: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def tell(self, move: str | None, beats: list[Beat], rng: np.random.Generator) -> Page:
        """As Wording.tell."""
        page = super().tell(move, beats, rng)
        self.pages.append((page.tokens, controls(move, beats)))
        return page


class Teller(nn.Module):
    """Tells from the encoder's output what is asked for in each latent frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, CONTROLS)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: [B, L, D] -> [B, T, K]"""
        told: Tensor = self.out(hidden[:, FIRST_SLOT : FIRST_SLOT + WINDOW_LATENT_FRAMES])
        return told


@torch.no_grad()
def fitted_teller(encoder: nn.Module, tokens: Tensor, wanted: Tensor) -> Teller:
    """The head that reads an encoder's slots best, by least squares. tokens: [B, L], wanted: [B, T, K]"""
    teller = Teller(WIDTH)
    hidden = torch.cat([read(encoder, some) for some in torch.split(tokens, 100)])
    slots = hidden[:, FIRST_SLOT : FIRST_SLOT + WINDOW_LATENT_FRAMES].flatten(0, 1).double()
    rows = torch.cat([slots, torch.ones_like(slots[:, :1])], dim=1)
    goal = wanted.flatten(0, 1).double()
    goal[:, LEVELS:] = CERTAINTY * (goal[:, LEVELS:] - 0.5)
    normal = rows.T @ rows + 1e-2 * torch.eye(rows.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(normal, rows.T @ goal).float()
    teller.out.weight.copy_(solved[:-1].T)
    teller.out.bias.copy_(solved[-1])
    return teller


def reading_loss(told: Tensor, wanted: Tensor) -> Tensor:
    """How wrong the teller is. [B, T, K] both"""
    begun = F.binary_cross_entropy_with_logits(told[..., LEVELS:], wanted[..., LEVELS:])
    camera = F.mse_loss(told[..., :CAMERA_CONTROLS], wanted[..., :CAMERA_CONTROLS])
    progress = F.mse_loss(told[..., CAMERA_CONTROLS:LEVELS], wanted[..., CAMERA_CONTROLS:LEVELS])
    return camera + 4 * begun + 4 * progress


def make_encoder() -> nn.Module:
    """The text encoder with random weights."""
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = UMT5Config(
        vocab_size=VOCABULARY, d_model=WIDTH, d_kv=48, num_heads=4, d_ff=384, num_layers=LAYERS, dropout_rate=0.0,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    encoder: nn.Module = UMT5EncoderModel(sizes)
    return encoder


def read(encoder: nn.Module, tokens: Tensor) -> Tensor:
    """Embeddings, zero after the last token. tokens: [B, L] -> [B, L, D]"""
    mask = tokens != 0
    hidden: Tensor = encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    return hidden * mask[..., None]


def trimmed(tokens: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return tokens[:, : int((tokens != 0).sum(1).max())]


def encoder_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Tensors to save: the embedding once."""
    return {
        k: v.detach().clone().contiguous()
        for k, v in encoder.state_dict().items()
        if k != "encoder.embed_tokens.weight"
    }


def load_encoder(encoder: nn.Module, file: Path) -> None:
    """Undo `encoder_weights`."""
    weights = {name: value.float() for name, value in load_file(file).items()}
    encoder.load_state_dict({**weights, "encoder.embed_tokens.weight": weights["shared.weight"]})


class Pages(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of tokens [B, L] and controls [B, T, K] without end; each worker makes its own."""

    def __init__(self, words: list[str], encode: Tokens, size: int, seed: int, workers: int = 0) -> None:
        self.words, self.encode, self.size, self.seed, self.workers = words, encode, size, seed, workers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = get_worker_info()
        torch.set_num_threads(1)
        pupil = Pupil(self.words, self.encode)
        director = Director(pupil, self.seed * 1000 + (info.id if info else 0))
        while True:
            while len(pupil.pages) < self.size:
                director.film()
            page, pupil.pages = pupil.pages[: self.size], pupil.pages[self.size :]
            ids, wanted = zip(*page, strict=True)
            yield torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(wanted))


@dataclass(frozen=True)
class Lessons:
    """How reading is learned. With `keep` the encoder stays what a DiT is used to, and the teller as it is."""

    seconds: float
    lr: float = 3e-3
    keep: nn.Module | None = None

    def loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """What straying costs. hidden: [B, L, D], tokens: [B, L]"""
        if self.keep is None:
            return hidden.new_zeros(())
        with torch.no_grad():
            before = read(self.keep, tokens)
        words = slice(FIRST_SLOT + WINDOW_LATENT_FRAMES, None)
        return KEEP_WEIGHT * (hidden - before)[:, words].square().mean() / before[:, words].var()


def learn_to_read(encoder: nn.Module, teller: Teller, pages: Pages, crew: Crew, lessons: Lessons) -> None:
    """Train both for a while, then say how well they read captions that they have not seen."""
    clock = Clock(lessons.seconds / 60)
    source = iter(DataLoader(pages, batch_size=None, num_workers=pages.workers, pin_memory=crew.gpu))
    held_out, held_controls = next(iter(Pages(pages.words, pages.encode, 200, 999)))
    held_out, held_controls = held_out.to(crew.device), held_controls.to(crew.device)
    parameters = [*encoder.parameters(), *(teller.parameters() if lessons.keep is None else ())]
    embedding: nn.Parameter = encoder.shared.weight  # type: ignore[union-attr,assignment]
    optimizer = Muon(parameters, [embedding, *teller.parameters()], weight_decay=0.0)
    step, going = 0, True
    while going:
        (progress,) = crew.agree(clock.progress)
        going = progress < 1
        if going:
            tokens, wanted = next(source)
            tokens = trimmed(tokens).to(crew.device, non_blocking=True)
            hidden = read(encoder, tokens)
            loss = lessons.loss(hidden, tokens) + reading_loss(
                teller(hidden), wanted.to(crew.device, non_blocking=True)
            )
            torch.autograd.backward(loss)
            crew.share_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step(lessons.lr * min(1, (step + 1) / 30) * max(0.03, min(1.0, 2 - 2 * progress)))
            step += 1
        if step % REPORT_EVERY == 0 or not going:
            with torch.no_grad():
                told = teller(read(encoder, trimmed(held_out)))
            right = ((told[..., LEVELS:] > 0) == (held_controls[..., LEVELS:] > 0.5)).all(-1).float().mean()
            camera = F.mse_loss(told[..., :3], held_controls[..., :3]) / held_controls[..., :3].var()
            crew.say(
                f"{clock.elapsed:6.1f} s reading, step {step}: frames all right {right:.3f}, camera error {camera:.3f}"
            )


def main() -> None:
    """Make the tokenizer, or take the one that is there, and teach the encoder to read."""
    parser = argparse.ArgumentParser(description="Make the tokenizer and pretrain the text encoder.")
    parser.add_argument("--data", type=Path, default=Path(".train/data"))
    parser.add_argument("--out", type=Path, default=Path(".train/text"))
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of reading; none: only the tokenizer and the configuration"
    )
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--workers", type=int, default=0, help="processes that write captions")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--init", type=Path, help="the encoder of a trained DiT, to go on from without confusing it")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    words = (args.data / "words.txt").read_text(encoding="utf-8").split()
    if not (args.out / "tokenizer.json").is_file():
        make_tokenizer(words, 30_000).save(str(args.out / "tokenizer.json"))
    encode = Tokens(args.out / "tokenizer.json")
    torch.manual_seed(0)
    encoder = make_encoder()
    (args.out / "config.json").write_text(json.dumps(encoder.config.to_diff_dict(), indent=1))  # type: ignore[union-attr,operator]
    if args.seconds:
        crew, teller, keep = Crew(), Teller(WIDTH), None
        if args.init:
            load_encoder(encoder, args.init)
            teller = fitted_teller(encoder, *next(iter(Pages(words, encode, 2000, 998))))
            keep = deepcopy(encoder).to(crew.device)
        encoder, teller = encoder.to(crew.device), teller.to(crew.device)
        pages = Pages(words, encode, args.batch, 1, args.workers)
        learn_to_read(encoder, teller, pages, crew, Lessons(args.seconds, args.lr, keep))
        save_file(encoder_weights(encoder), args.out / "encoder.safetensors")


if __name__ == "__main__":
    main()
