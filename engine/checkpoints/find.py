"""What of the svi2pro set lies in a folder: files named freely, in any subfolders, as other programs keep them too.

What a file is, its tensors say; which expert it is for, only names can: high or low, in the file's name or in that of
a folder above it, and diffusers' transformer and transformer_2.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engine.checkpoints.checkpoint import open_checkpoint
from engine.checkpoints.files import open_tensors
from engine.checkpoints.header import Foreign, is_lora
from engine.checkpoints.sizes import TextConfig, check_reads_pictures
from engine.dit import DiTConfig
from engine.vae import VAEConfig
from storage.schema import Expert, UserError


class Part(StrEnum):
    """A member of the svi2pro set, in words for people."""

    HIGH_NOISE = "high-noise expert"
    LOW_NOISE = "low-noise expert"
    VAE = "VAE"
    TEXT_ENCODER = "text encoder"
    TOKENIZER = "tokenizer"
    SVI_HIGH = "SVI 2.0 Pro LoRA, high noise"
    SVI_LOW = "SVI 2.0 Pro LoRA, low noise"
    LIGHTNING_HIGH = "Lightning LoRA, high noise"
    LIGHTNING_LOW = "Lightning LoRA, low noise"
    LIGHTNING_2025_HIGH = "Lightning LoRA of October 2025, high noise"
    PREVIEW = "preview decoder taew2_1"


OPTIONAL = frozenset({Part.LIGHTNING_HIGH, Part.LIGHTNING_LOW, Part.LIGHTNING_2025_HIGH, Part.PREVIEW})
_EXPERTS = {Expert.HIGH_NOISE: Part.HIGH_NOISE, Expert.LOW_NOISE: Part.LOW_NOISE}
_SVI = {Expert.HIGH_NOISE: Part.SVI_HIGH, Expert.LOW_NOISE: Part.SVI_LOW}
_LIGHTNING = {Expert.HIGH_NOISE: Part.LIGHTNING_HIGH, Expert.LOW_NOISE: Part.LIGHTNING_LOW}

FINISH_DIR = "finish"  # of a models folder: networks that finish a film, which are no part of the set

_SUFFIXES = (".safetensors", ".gguf", ".pth")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_NOISE = re.compile(r"(?<![a-z])(high|low)(?=noise|[^a-z]|$)")
_DISTILLED = re.compile(r"lightx2v|lightning|distill|seko|(?<!\d)[48]_?steps?")
_MOE_DISTILLED = re.compile(r"mo_?e_distill")  # "MoE" comes out as two words
_SVI_PRO = re.compile(r"(?<![a-z])svi(?![a-z]).*(?<![a-z])pro(?![a-z])")
_PREVIEW = re.compile(r"(?<![a-z])taew2_1(?!\d)")
_SPARE_ROWS = 512  # at most so many rows of UMT5's embedding stand for no token
_END = "</s>", 1  # the token that ends a text, and its number in UMT5's tokenizer


@dataclass(frozen=True)
class Piece:
    """One part and where it lies. path: a file, or the folder of a checkpoint in shards."""

    part: Part
    path: Path
    format: str  # for people

    def __str__(self) -> str:
        return f"{self.part}: {self.path} ({self.format})"


@dataclass(frozen=True)
class Unusable:
    """A file that looks like a part and cannot be one, and why in one sentence."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """What is there, one piece a part. Of several files the least rounded one is taken, and none that was distilled."""

    pieces: Mapping[Part, Piece]
    unusable: tuple[Unusable, ...]

    @property
    def missing(self) -> tuple[Part, ...]:
        """Parts that a film needs and that are not there."""
        return tuple(part for part in Part if part not in self.pieces and part not in OPTIONAL)

    def path(self, part: Part) -> Path:
        """Where a part lies; UserError when it does not."""
        if part not in self.pieces:
            raise UserError(f"The {part} is not installed.")
        return self.pieces[part].path


def find_models(models_dir: Path, *, distilled_experts: bool = False) -> Found:
    """The pieces in a folder and below it. Nothing but headers is read; hidden folders are left out, links followed.

    distilled_experts: take no experts but those whose names say that they were distilled.
    """
    ranked: list[tuple[_Rank, str, Piece]] = []
    unusable: list[Unusable] = []
    vocabularies: dict[Path, int] = {}
    tokenizers: list[Path] = []
    for path in _files_in(models_dir):
        if path.name == "tokenizer.json":
            tokenizers.append(path)
            continue
        try:
            rank, piece = _examine(path, models_dir, vocabularies)
        except Foreign:
            continue
        except UserError as error:
            unusable.append(Unusable(path, str(error)))
        else:
            if rank[0] or not distilled_experts or piece.part not in _EXPERTS.values():
                ranked.append((rank, str(path), piece))
    pieces: dict[Part, Piece] = {}
    for _, _, piece in sorted(ranked, key=lambda entry: entry[:2]):
        pieces.setdefault(piece.part, piece)
    if Part.TEXT_ENCODER in pieces:
        rows = vocabularies[pieces[Part.TEXT_ENCODER].path]
        fitting = (path for path in tokenizers if _tokenizer_fits(path, rows))
        if (tokenizer := next(fitting, None)) is not None:
            pieces[Part.TOKENIZER] = Piece(Part.TOKENIZER, tokenizer, "tokenizer.json")
    return Found(pieces, tuple(unusable))


def expert_of(path: Path, root: Path) -> Expert | None:
    """The expert that a file is named for: its own name counts first, then the nearest folder's."""
    for name in reversed(path.relative_to(root).parts):
        words = {match[1] for match in _NOISE.finditer(_words(name))}
        if len(words) == 1:
            return Expert.HIGH_NOISE if words == {"high"} else Expert.LOW_NOISE
        if name in ("transformer", "transformer_2"):
            return Expert.LOW_NOISE if name == "transformer_2" else Expert.HIGH_NOISE
    return None


_Rank = tuple[bool, bool, int]  # distilled, rounded, negative size: the lowest is the best


def _examine(path: Path, root: Path, vocabularies: dict[Path, int]) -> tuple[_Rank, Piece]:
    """The piece that a checkpoint is, and how good a one; Foreign when it is none."""
    if _PREVIEW.search(_words(path.name)):
        open_tensors(path)
        return (False, False, 0), Piece(Part.PREVIEW, path, "TAEHV")
    try:
        checkpoint = open_checkpoint(path)
    except Foreign:
        return (False, False, 0), Piece(_lora_part(path, root), path, "LoRA")
    match checkpoint.config:
        case TextConfig(vocab_size=rows):
            vocabularies[path] = rows
            part = Part.TEXT_ENCODER
        case VAEConfig():
            part = Part.VAE
        case DiTConfig() as config:
            check_reads_pictures(path.name, config)
            expert = expert_of(path, root)
            if expert is None:
                raise UserError(f"{path.name} is an expert, but neither its name nor its folder's says high or low.")
            part = _EXPERTS[expert]
    distilled = _DISTILLED.search(_words(str(path.relative_to(root)))) is not None
    size = _size(path) if checkpoint.quantised else 0
    return (distilled, checkpoint.quantised, -size), Piece(part, path, checkpoint.format)


def _lora_part(path: Path, root: Path) -> Part:
    """The part that a LoRA is, by its name; Foreign when it is none, or no LoRA."""
    if path.is_file() and is_lora(open_tensors(path).stored):
        expert = expert_of(path, root)
        names = _words(str(path.relative_to(root)))
        if expert is not None and _SVI_PRO.search(_words(path.name)):
            return _SVI[expert]
        if expert is Expert.HIGH_NOISE and _MOE_DISTILLED.search(names):
            return Part.LIGHTNING_2025_HIGH
        if expert is not None and _DISTILLED.search(names) and "t2v" not in names:
            return _LIGHTNING[expert]
    raise Foreign(f"{path.name} is no part of the set.")


def _files_in(root: Path) -> Iterator[Path]:
    """Every tokenizer and checkpoint in order; the folder itself where an index makes one checkpoint of its shards."""
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".")
            and Path(folder, name) != root / FINISH_DIR
            and os.path.realpath(os.path.join(folder, name)) not in seen  # noqa: PTH118
        )
        seen.add(os.path.realpath(folder))
        if _is_model_folder(Path(folder)):
            subfolders.clear()
            continue
        indexed = any(name.endswith(".index.json") for name in files)
        if indexed:
            yield Path(folder)
        for name in sorted(files):
            whole = name.endswith(_SUFFIXES) and not (indexed and _SHARD.search(name))
            if name == "tokenizer.json" or (whole and not name.startswith(".")):
                yield Path(folder, name)


def _is_model_folder(folder: Path) -> bool:
    """Whether a folder is a whole model of engine/models.py, as the demo is, which needs no search."""
    try:
        return "experts" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False


def _tokenizer_fits(path: Path, rows: int) -> bool:
    """Whether a tokenizer.json is UMT5's, for an encoder with so many rows in its embedding."""
    try:
        content = json.loads(path.read_text())
        vocabulary = content["model"]["vocab"]  # a list of [token, score], or a mapping from token to number
        pairs = vocabulary.items() if isinstance(vocabulary, dict) else [(e[0], i) for i, e in enumerate(vocabulary)]
        numbers = dict(pairs) | {token["content"]: token["id"] for token in content["added_tokens"]}
    except (ValueError, KeyError, TypeError, IndexError):
        return False
    return numbers.get(_END[0]) == _END[1] and rows - _SPARE_ROWS < max(numbers.values()) + 1 <= rows


def _words(name: str) -> str:
    """A name in lower case, with underscores for what parts its words: HighNoise-Q4 -> high_noise_q4."""
    return re.sub(r"[-. /]", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
