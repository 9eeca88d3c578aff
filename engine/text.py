"""Prompt -> embeddings: the UMT5 encoder with the official cleaning of the text.

A folder holds config.json and *.safetensors (of transformers' UMT5EncoderModel, or with the official key names) and
tokenizer.json. Facts: Wan2.2, wan/modules/t5.py and tokenizers.py.
"""

import gc
import hashlib
import html
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import ftfy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from torch import Tensor, nn

from engine.streaming import Pool
from storage.disk import whole
from storage.schema import UserError

CPU = torch.device("cpu")
END = "</s>"
EMBEDDING = "shared.weight", "encoder.embed_tokens.weight"  # two names of one tensor; files hold either or both

OFFICIAL_BLOCK_KEYS = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}
OFFICIAL_KEYS = {"token_embedding": "shared", "norm": "encoder.final_layer_norm"}


class TextEncoder:
    """Turns a prompt into what the denoiser reads. The network is loaded when a text is first not found in `cache`."""

    def __init__(
        self,
        tokenizer: Path,
        weights: Sequence[Path],
        load: Callable[[torch.device], nn.Module],
        text_len: int,
        device: torch.device = CPU,
        cache: Path | None = None,
    ) -> None:
        """weights: files that `load` reads, best to the device that it is given; text_len: slots of the denoiser;
        cache: a folder for embeddings, or None"""
        self._stays = True
        self._files = (tokenizer, *weights)
        self._load = load
        self.slots = text_len
        self._device = device
        self._cache = cache
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        end = self._tokenizer.token_to_id(END)
        if end is None:
            raise UserError(f"{tokenizer} knows no {END}: it is not a tokenizer for UMT5.")
        self._end: int = end

    @classmethod
    def in_folder(
        cls, folder: Path, text_len: int, device: torch.device = CPU, cache: Path | None = None
    ) -> "TextEncoder":
        """The encoder whose config.json, tokenizer.json and safetensors files lie in `folder`."""
        for name in ("config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise UserError(f"The text encoder is not installed: there is no {folder / name}.")
        weights = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
        return cls(folder / "tokenizer.json", weights, lambda _: load_umt5(folder), text_len, device, cache)

    def __call__(self, text: str) -> Tensor:
        """Embeddings of a text, zero after its last token: [1, text_len, text_dim] float32."""
        text = clean(text)
        path = self._cache_file(text)
        if path is not None and path.is_file():
            embeddings = load_file(path, device=str(self._device))["embeddings"]
        else:
            embeddings = self._encode(text)
            if path is not None:
                _save(embeddings, path)
        padded = embeddings.new_zeros(1, self.slots, embeddings.shape[1])
        padded[0, : len(embeddings)] = embeddings
        return padded

    def keep(self, stays: bool) -> None:
        """Whether the network stays on the device. Otherwise its blocks come there one by one while it encodes, and
        `prepare` forgets it at last."""
        if stays is not self._stays:
            self._forget()
        self._stays = stays

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode the texts of a film before it begins, into the cache if there is one."""
        for text in texts:
            path = self._cache_file(clean(text))
            if path is not None and not path.is_file():
                self(text)
        if not self._stays:
            self._forget()

    def _forget(self) -> None:
        if self.__dict__.pop("_network", None) is not None:
            gc.collect()  # hooks hold it in a circle

    def count_tokens(self, text: str) -> int:
        """Tokens that the whole text needs, the end included; those beyond text_len are not seen by the denoiser."""
        return len(self._tokenize(clean(text))) + 1

    def tokens_of(self, text: str, spans: Sequence[tuple[int, int]]) -> list[range]:
        """The tokens of each stretch of characters (start, stop) of a text, among those that fit in.

        A token belongs to the stretch that holds its last character, so no token has two, and the space before a word
        goes with the word. Tokens that a tokenizer puts before every text belong to none. Stretches are those of the
        text as it was given, before it is cleaned.
        """
        cleaned = clean(text)
        place = _places(text, cleaned)
        encoded = self._tokenizer.encode(cleaned, add_special_tokens=False)
        return token_ranges(encoded.offsets[: self.slots - 1], [(place(start), place(stop)) for start, stop in spans])

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @torch.no_grad()
    def _encode(self, text: str) -> Tensor:
        """Embeddings of the real tokens alone: what a masked run over all slots gives them too. [tokens, text_dim]"""
        ids = [*self._tokenize(text)[: self.slots - 1], self._end]
        table = self._network.get_parameter(EMBEDDING[0])
        words = F.embedding(torch.tensor([ids], device=table.device), table).to(self._device)
        mask = torch.ones(words.shape[:2], dtype=torch.int64, device=self._device)
        hidden: Tensor = self._network(inputs_embeds=words, attention_mask=mask).last_hidden_state
        return hidden[0].float()

    @cached_property
    def _network(self) -> nn.Module:
        with torch.inference_mode(mode=False):
            network = self._load(self._device if self._stays else CPU)
        if self._stays:
            return network.to(self._device)
        pool = Pool(self._device, pinned=False)
        pool.add(network, cast("Sequence[nn.Module]", network.get_submodule("encoder.block")), left=EMBEDDING[:1])
        pool.resize(0)
        return network

    def _cache_file(self, text: str) -> Path | None:
        if self._cache is None:
            return None
        name = hashlib.sha256(f"{self._identity}\n{self.slots}\n{text}".encode()).hexdigest()
        return self._cache / f"{name}.safetensors"

    @cached_property
    def _identity(self) -> str:
        """Changes when one of the files does: names, sizes and times, since reading 11 GB would take too long."""
        return " ".join(f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in self._files)


def token_ranges(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[range]:
    """The tokens whose last characters lie in each span; what a tokenizer puts before a text belongs to none.

    >>> token_ranges([(0, 1), (0, 1), (0, 4), (4, 9)], [(0, 4), (4, 9)])
    [range(2, 3), range(3, 4)]
    """
    last = [stop - 1 for _, stop in offsets]
    text = max((index for index, (start, _) in enumerate(offsets) if start == 0), default=0)
    return [range(max(text, bisect_left(last, start)), max(text, bisect_left(last, stop))) for start, stop in spans]


def clean(text: str) -> str:
    """The official cleaning: broken encodings repaired, HTML entities resolved, white space collapsed; case is kept.

    >>> clean(" a &amp;amp; b\\n\\n c ")
    'a & b c'
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip()


def _places(text: str, cleaned: str) -> Callable[[int], int]:
    """Where a place between two characters of `text` lies in `cleaned`; inside of what was changed, where that ends."""
    blocks = SequenceMatcher(None, text, cleaned, autojunk=False).get_matching_blocks()

    def place(index: int) -> int:
        block = next(block for block in blocks if index <= block.a + block.size)
        return block.b + max(0, index - block.a)

    return place


def load_umt5(folder: Path) -> nn.Module:
    """The encoder with every tensor of the folder's safetensors files in its place, in their dtype; none may be left.

    Float16 becomes bfloat16: this network's activations overflow float16.
    """
    tensors = {key: tensor for path in sorted(folder.glob("*.safetensors")) for key, tensor in load_file(path).items()}
    if "token_embedding.weight" in tensors:
        tensors = from_official(tensors)
    return build_umt5(json.loads((folder / "config.json").read_text()), tensors, str(folder))


def build_umt5(config: Mapping[str, Any], tensors: dict[str, Tensor], place: str) -> nn.Module:
    """An encoder of `config`'s sizes that owns `tensors`, under transformers' names. `place` is for complaints."""
    from transformers import UMT5Config, UMT5EncoderModel  # imported here because it takes seconds

    for ours, other in (EMBEDDING, EMBEDDING[::-1]):
        if ours in tensors:
            tensors.setdefault(other, tensors[ours])
    with torch.device("meta"):
        network = UMT5EncoderModel(UMT5Config(**config))
    names = network.state_dict().keys()
    missing, unknown = sorted(names - tensors.keys()), sorted(tensors.keys() - names)
    if missing or unknown:
        raise UserError(
            f"The text encoder in {place} does not fit: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(unknown)} are unknown {unknown[:3]}."
        )
    network.load_state_dict(tensors, assign=True)
    network.encoder.embed_tokens.weight = network.shared.weight  # one parameter, or a device would hold it twice
    dtype = network.shared.weight.dtype
    umt5: nn.Module = network.requires_grad_(False)
    return umt5.to(torch.bfloat16 if dtype == torch.float16 else dtype).eval()


def from_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the official models_t5_umt5-xxl-enc checkpoint under transformers' names."""
    renamed = {}
    for key, tensor in tensors.items():
        name = key.removesuffix(".weight")
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            ours = OFFICIAL_BLOCK_KEYS.get(match[2])
            ours = ours and f"encoder.block.{match[1]}.{ours}"
        else:
            ours = OFFICIAL_KEYS.get(name)
        if ours is None:
            raise UserError(f"{key!r} is no tensor of the official text encoder.")
        renamed[f"{ours}.weight"] = tensor
    return renamed


def _save(embeddings: Tensor, path: Path) -> None:
    """Write a cache file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_bytes(save({"embeddings": embeddings.cpu().contiguous()}))
