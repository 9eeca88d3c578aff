"""Learning to read: the demonstration model's tokenizer, its text encoder, and what a caption says as numbers.

Before anything moves, the text encoder learns to tell what a caption asks for at each quarter of a second. The network
that animates then finds in its output what it needs; the head that tells (Teller) is not shipped.

    B captions, L tokens, T latent frames of a window (21), K controls
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from engine.demo.captions import TEXT_TOKENS, Beat, Wording
from engine.demo.film import VELOCITY, Director, drift
from engine.demo.muon import Muon
from engine.demo.training import Clock, Crew
from engine.demo.words import EFFECTS, ENDS, MOVES, SPRITES

if TYPE_CHECKING:
    from transformers import UMT5EncoderModel

LATENT_FRAMES = 21
NAMES = (*(f"effect {n}" for n in EFFECTS), *(f"end {n}" for n in ENDS), *(f"sprite {n}" for n in MOVES))
CONTROLS = 3 + len(NAMES) + len(SPRITES)
VOCABULARY, WIDTH = 2048, 192


def controls(move: str | None, beats: list[Beat]) -> NDArray[np.float32]:
    """What a caption asks for: how the camera moves, and what has begun, every quarter of a second. [T, K]"""
    wanted = np.zeros((LATENT_FRAMES, CONTROLS), np.float32)
    seconds = np.arange(LATENT_FRAMES, dtype=np.float32) / 4
    turns = [beat for beat in beats if beat.kind == "camera"]
    if move is not None:
        wanted[:, :3] = VELOCITY[move]
    elif not turns:
        wanted[:, :3] = drift(seconds)
    for beat in beats:
        begun = seconds + 0.125 >= beat.seconds
        if beat.kind == "camera":
            wanted[begun, :3] = VELOCITY[beat.name]
        elif beat.kind != "nothing":
            wanted[begun, 3 + NAMES.index(f"{beat.kind} {beat.name}")] = 1
        if beat.kind == "sprite":
            wanted[begun, 3 + len(NAMES) + beat.sprite] = 1
    wanted[:, :3] *= 15
    return wanted


class Pupil(Wording):
    """A wording that also keeps what each caption asks for."""

    def __init__(self, words: list[str], encode: Callable[[str], list[int]]) -> None:
        super().__init__(words, encode)
        self.pages: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def tokens(self, move: str | None, beats: list[Beat], rng: np.random.Generator) -> NDArray[np.int64]:
        """As Wording.tokens."""
        ids = super().tokens(move, beats, rng)
        self.pages.append((ids, controls(move, beats)))
        return ids


class Teller(nn.Module):
    """Tells from the encoder's output what is asked for in each latent frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(LATENT_FRAMES, width) * 0.5)
        self.norm = nn.LayerNorm(width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, CONTROLS))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: [B, L, D], mask: [B, L] -> [B, T, K]"""
        batch, _, width = hidden.shape
        hidden = self.norm(hidden)
        q = self.queries.expand(batch, -1, -1).view(batch, LATENT_FRAMES, 4, width // 4).transpose(1, 2)
        k = self.k(hidden).view(batch, -1, 4, width // 4).transpose(1, 2)
        v = self.v(hidden).view(batch, -1, 4, width // 4).transpose(1, 2)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None].bool())
        told: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return told


def reading_loss(told: Tensor, wanted: Tensor) -> Tensor:
    """How wrong the teller is. [B, T, K] both"""
    begun = F.binary_cross_entropy_with_logits(told[..., 3:], wanted[..., 3:])
    return F.mse_loss(told[..., :3], wanted[..., :3]) + 4 * begun


def make_tokenizer(words: list[str], captions: int) -> Tokenizer:
    """A byte-level BPE of small letters in which every digit stands alone, trained on captions."""
    texts: list[str] = []

    def keep(text: str) -> list[int]:
        texts.append(text)
        return [0]

    director = Director(Wording(words, keep), 5)
    while len(texts) < captions:
        director.film()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Tokens:
    """Text -> token ids, as the engine's TextEncoder makes them: the end last."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tokenizer = Tokenizer.from_file(str(file))

    def __call__(self, text: str) -> list[int]:
        """Token ids, at most TEXT_TOKENS."""
        return [*self.tokenizer.encode(text, add_special_tokens=False).ids[: TEXT_TOKENS - 1], 1]

    def __reduce__(self) -> tuple[type["Tokens"], tuple[Path]]:
        return Tokens, (self.file,)


def make_encoder() -> "UMT5EncoderModel":
    """The text encoder with random weights."""
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = UMT5Config(
        vocab_size=VOCABULARY, d_model=WIDTH, d_kv=48, num_heads=4, d_ff=384, num_layers=3, dropout_rate=0.0,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return UMT5EncoderModel(sizes)


def read(encoder: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings, zero after the last token, and the mask. tokens: [B, L] -> [B, L, D], [B, L]"""
    mask = tokens != 0
    hidden = encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    return hidden * mask[..., None], mask


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


def learn_to_read(encoder: nn.Module, teller: Teller, pages: Pages, crew: Crew, seconds: float) -> None:
    """Train both for a while, then say how well they read captions that they have not seen."""
    clock = Clock(seconds / 60)
    source = iter(DataLoader(pages, batch_size=None, num_workers=pages.workers, pin_memory=crew.gpu))
    held_out, held_controls = next(iter(Pages(pages.words, pages.encode, 200, 999)))
    held_out, held_controls = held_out.to(crew.device), held_controls.to(crew.device)
    parameters = [*encoder.parameters(), *teller.parameters()]
    optimizer = Muon(parameters, [encoder.shared.weight, teller.queries, *teller.out[2].parameters()], weight_decay=0.0)  # type: ignore[union-attr,list-item]
    step, going = 0, True
    while going:
        (progress,) = crew.agree(clock.progress)
        going = progress < 1
        if going:
            tokens, wanted = next(source)
            hidden, mask = read(encoder, trimmed(tokens).to(crew.device, non_blocking=True))
            loss = reading_loss(teller(hidden, mask), wanted.to(crew.device, non_blocking=True))
            torch.autograd.backward(loss)
            crew.share_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step(3e-3 * min(1, (step + 1) / 30) * max(0.03, min(1.0, 2 - 2 * progress)))
            step += 1
        if step % 200 == 0 or not going:
            with torch.no_grad():
                hidden, mask = read(encoder, trimmed(held_out))
                told = teller(hidden, mask)
            right = ((told[..., 3:] > 0) == (held_controls[..., 3:] > 0.5)).all(-1).float().mean()
            camera = F.mse_loss(told[..., :3], held_controls[..., :3]) / held_controls[..., :3].var()
            crew.say(
                f"{clock.elapsed:6.1f} s reading, step {step}: frames all right {right:.3f}, camera error {camera:.3f}"
            )


def main() -> None:
    """Make the tokenizer and teach the encoder to read, on a CPU."""
    parser = argparse.ArgumentParser(description="Make the tokenizer and pretrain the text encoder.")
    parser.add_argument("--data", type=Path, default=Path(".train/data"))
    parser.add_argument("--out", type=Path, default=Path(".train/text"))
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of reading; none: only the tokenizer and the configuration"
    )
    parser.add_argument("--batch", type=int, default=48)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    words = (args.data / "words.txt").read_text(encoding="utf-8").split()
    make_tokenizer(words, 30_000).save(str(args.out / "tokenizer.json"))
    encode = Tokens(args.out / "tokenizer.json")
    torch.manual_seed(0)
    encoder = make_encoder()
    (args.out / "config.json").write_text(json.dumps(encoder.config.to_diff_dict(), indent=1))
    if args.seconds:
        teller = Teller(WIDTH)
        learn_to_read(encoder, teller, Pages(words, encode, args.batch, 1), Crew(), args.seconds)
        save_file(encoder_weights(encoder), args.out / "encoder.safetensors")


if __name__ == "__main__":
    main()
