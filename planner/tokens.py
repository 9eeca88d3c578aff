"""How many tokens of umT5 a prompt has, estimated: the tokenizer lies with the weights, which only the engine has."""

import math
import re

PROMPT_TOKENS = 512  # that Wan2.2 reads of a prompt; what stands behind them is not seen

_PIECE = re.compile(r"[^\W\d_\u3040-\u9fff\uac00-\ud7af]+|\S")
LETTERS_A_TOKEN = 3  # of an alphabet; umT5 has 256 384 pieces, among them most common words as a whole


def count_tokens(text: str) -> int:
    """Tokens of a text, its end included: one for three letters of a word, and for each other character.

    Meant to err to more: Chinese and Japanese have many pieces of two characters, English words are mostly one.
    """
    return 1 + sum(math.ceil(len(piece) / LETTERS_A_TOKEN) for piece in _PIECE.findall(text))
