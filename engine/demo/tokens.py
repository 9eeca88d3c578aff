"""The demonstration model's tokenizer: a byte-level BPE of small letters that puts slots before every text.

A slot is one token of its own for each latent frame of a window; what the text encoder writes into them is told in
engine/demo/reading.py.
"""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from engine.demo.captions import TEXT_TOKENS, Wording
from engine.demo.film import Director
from engine.text import token_ranges

VOCABULARY = 2048
GOING = (("left", "right"), ("right", "left"), ("the left", "the right"), ("the right", "the left"))
FIRST_SLOT = 1  # after the space that the tokenizer begins with
SLOT_TOKENS = "".join(map(chr, (*range(1, 9), *range(14, 27))))  # one a latent frame: control characters, in no text


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
    tokenizer.normalizer = as_read()
    return tokenizer


def as_read() -> normalizers.Normalizer:
    """A text as the encoder reads it: behind its slots, in small letters, and where something goes said in one way.

    NOTE: "from left to right" has the words of "from right to left", and an encoder of this size does not learn which
    comes first.
    """
    ends = [normalizers.Replace(f"from {start} to {end}", f"to the {end.removeprefix('the ')}") for start, end in GOING]
    return normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *ends, normalizers.Prepend(SLOT_TOKENS)])


class Tokens:
    """Text -> token ids, as the engine's TextEncoder makes them: the end last."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tokenizer = Tokenizer.from_file(str(file))

    def __call__(self, text: str) -> list[int]:
        """Token ids, at most TEXT_TOKENS."""
        return [*self.tokenizer.encode(text, add_special_tokens=False).ids[: TEXT_TOKENS - 1], 1]

    def places(self, text: str, spans: list[tuple[int, int]]) -> list[range]:
        """The tokens of stretches of characters, as the engine's TextEncoder finds them."""
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return token_ranges(encoded.offsets[: TEXT_TOKENS - 1], spans)

    def __reduce__(self) -> tuple[type["Tokens"], tuple[Path]]:
        return Tokens, (self.file,)
