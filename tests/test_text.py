"""Laws of the text encoder, and its parity with a reference written from the official network's description."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from oracles import relative_error
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from engine.text import TextEncoder, clean, from_official, load_umt5
from storage.schema import UserError

WORDS = ["a", "red", "fox", "runs", "through", "deep", "snow", "at", "night", ",", "&", "Fox"]
DIM, HEADS, HEAD_DIM, FFN_DIM, LAYERS, BUCKETS, MAX_DISTANCE = 24, 3, 6, 40, 2, 8, 20
CONFIG = {
    "vocab_size": len(WORDS) + 3, "d_model": DIM, "num_heads": HEADS, "d_kv": HEAD_DIM, "d_ff": FFN_DIM,
    "num_layers": LAYERS, "relative_attention_num_buckets": BUCKETS, "relative_attention_max_distance": MAX_DISTANCE,
    "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-6,
}  # fmt: skip
SENTENCE = "a red fox runs through deep snow , a red fox at night"
TOKENS = 14  # its words and the end


def official_tensors(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"token_embedding": (CONFIG["vocab_size"], DIM), "norm": (DIM,)}
    inner = HEADS * HEAD_DIM
    for i in range(LAYERS):
        shapes |= {f"blocks.{i}.{name}": (DIM,) for name in ("norm1", "norm2")}
        shapes |= {f"blocks.{i}.attn.{name}": (inner, DIM) for name in "qkv"}
        shapes |= {f"blocks.{i}.attn.o": (DIM, inner), f"blocks.{i}.pos_embedding.embedding": (BUCKETS, HEADS)}
        shapes |= {f"blocks.{i}.ffn.{name}": (FFN_DIM, DIM) for name in ("gate.0", "fc1")}
        shapes |= {f"blocks.{i}.ffn.fc2": (DIM, FFN_DIM)}
    tensors = {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for key, tensor in tensors.items():
        if "norm" in key:
            tensors[key] = 1 + 0.3 * tensor
        else:  # queries as small as T5 trains them, since the scores are not divided by sqrt(d)
            tensors[key] = tensor * tensor.shape[1] ** -0.5 * (HEAD_DIM**-0.5 if ".attn.q." in key else 1)
    return {key: tensor.to(dtype) for key, tensor in tensors.items()}


def reference(w: dict[str, Tensor], ids: list[int]) -> Tensor:
    """The official encoder on one text, in float64. ids: L numbers -> [L, D]"""
    w = {key.removesuffix(".weight"): tensor.double() for key, tensor in w.items()}

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain

    def heads(x: Tensor) -> Tensor:
        return x.view(len(ids), HEADS, HEAD_DIM).transpose(0, 1)

    buckets = torch.tensor([[bucket(key - query) for key in range(len(ids))] for query in range(len(ids))])
    x = w["token_embedding"][ids]
    for i in range(LAYERS):
        b = f"blocks.{i}."
        y = norm(x, w[b + "norm1"])
        q, k, v = (heads(y @ w[f"{b}attn.{name}"].T) for name in "qkv")
        scores = q @ k.transpose(1, 2) + w[b + "pos_embedding.embedding"][buckets].permute(
            2, 0, 1
        )  # never divided by sqrt(d)
        x = x + (scores.softmax(-1) @ v).transpose(0, 1).flatten(1) @ w[b + "attn.o"].T
        y = norm(x, w[b + "norm2"])
        gate = F.gelu(y @ w[b + "ffn.gate.0"].T, approximate="tanh")
        x = x + (y @ w[b + "ffn.fc1"].T * gate) @ w[b + "ffn.fc2"].T
    return norm(x, w["norm"])


def bucket(offset: int) -> int:
    half, exact, distance = BUCKETS // 2, BUCKETS // 4, abs(offset)
    if distance >= exact:
        far = math.log(distance / exact) / math.log(MAX_DISTANCE / exact) * (half - exact)
        distance = min(exact + int(far), half - 1)
    return distance + (half if offset > 0 else 0)


def write_folder(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("text"), official_tensors())


def ids_of(text: str) -> list[int]:
    return [3 + WORDS.index(word) for word in text.split()] + [1]


def test_full_size_has_the_official_tensors():
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        network = UMT5EncoderModel(
            UMT5Config(vocab_size=256384, d_model=4096, num_heads=64, d_kv=64, d_ff=10240, num_layers=24)
        )
    tensors = dict(network.named_parameters())
    assert len(tensors) == 242
    assert sum(tensor.numel() for tensor in tensors.values()) == 5_680_910_336
    block = [
        "norm1",
        "norm2",
        "pos_embedding.embedding",
        "ffn.gate.0",
        "ffn.fc1",
        "ffn.fc2",
        *(f"attn.{x}" for x in "qkvo"),
    ]
    official = [f"blocks.{i}.{name}.weight" for i in range(24) for name in block] + [
        "token_embedding.weight",
        "norm.weight",
    ]
    assert from_official(dict.fromkeys(official, torch.zeros(0))).keys() == tensors.keys()


def test_encodes_as_the_official_network(folder):
    embeddings = TextEncoder.in_folder(folder, text_len=32)(SENTENCE)
    expected = reference(official_tensors(), ids_of(SENTENCE))
    assert embeddings.shape == (1, 32, DIM)
    assert embeddings.dtype == torch.float32
    assert relative_error(embeddings[0, :TOKENS], expected) < 1e-6
    assert torch.equal(embeddings[0, TOKENS:], torch.zeros(32 - TOKENS, DIM))


def test_padding_does_not_change_the_embeddings(folder):
    """The official code runs all slots with a mask; running the real tokens alone gives the same."""
    ids = torch.zeros(1, 32, dtype=torch.long)
    ids[0, :TOKENS] = torch.tensor(ids_of(SENTENCE))
    with torch.no_grad():
        masked = load_umt5(folder)(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
    torch.testing.assert_close(
        TextEncoder.in_folder(folder, text_len=32)(SENTENCE)[:, :TOKENS], masked[:, :TOKENS], atol=1e-5, rtol=1e-5
    )


def test_a_long_text_is_cut_and_still_ends(folder):
    encoder = TextEncoder.in_folder(folder, text_len=6)
    assert encoder.count_tokens(SENTENCE) == TOKENS
    cut = encoder(SENTENCE)
    assert cut.shape == (1, 6, DIM)
    assert torch.equal(cut, encoder("a red fox runs through"))
    assert encoder.count_tokens("a red fox runs through") == 6


def test_an_empty_text_is_its_end(folder):
    encoder = TextEncoder.in_folder(folder, text_len=6)
    assert encoder.count_tokens(" ") == 1
    assert relative_error(encoder("")[0, :1], reference(official_tensors(), [1])) < 1e-6


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  a\t red \n\n fox ", "a red fox"),
        ("snow &amp;amp; night", "snow & night"),
        ("<b> &amp;amp; a", "<b> & a"),
        ("Fox", "Fox"),
        ("cafÃ© &lt;3", "café <3"),
        ("a　red", "a red"),
        ("a&nbsp;fox&nbsp;", "a fox"),
        ("色调艳丽，过曝", "色调艳丽,过曝"),
    ],
)
def test_cleaning(raw, expected):
    assert clean(raw) == expected
    assert clean(expected) == expected


def test_the_network_reads_cleaned_text(folder):
    encoder = TextEncoder.in_folder(folder, text_len=16)
    assert torch.equal(encoder("  a red\n&amp;amp; Fox "), encoder("a red & Fox"))
    assert not torch.equal(encoder("a red & Fox"), encoder("a red & fox"))


def test_both_key_styles_and_both_embedding_names_load(folder, tmp_path):
    expected = TextEncoder.in_folder(folder, text_len=16)(SENTENCE)
    renamed = from_official(official_tensors())
    for name, extra in (("shared", {}), ("both", {"encoder.embed_tokens.weight": renamed["shared.weight"].clone()})):
        assert torch.equal(
            TextEncoder.in_folder(write_folder(tmp_path / name, renamed | extra), text_len=16)(SENTENCE), expected
        )
    renamed["encoder.embed_tokens.weight"] = renamed.pop("shared.weight")
    assert torch.equal(
        TextEncoder.in_folder(write_folder(tmp_path / "embed", renamed), text_len=16)(SENTENCE), expected
    )


def test_the_vocabulary_is_held_once(folder):
    network = load_umt5(folder)
    assert len(list(network.parameters())) == 2 + 10 * LAYERS


def test_shards_are_read_together(folder, tmp_path):
    sharded = write_folder(tmp_path / "sharded", {})
    tensors = official_tensors()
    (sharded / "model.safetensors").unlink()
    save_file({key: tensors[key] for key in list(tensors)[:9]}, sharded / "model-00001-of-00002.safetensors")
    save_file({key: tensors[key] for key in list(tensors)[9:]}, sharded / "model-00002-of-00002.safetensors")
    assert torch.equal(
        TextEncoder.in_folder(sharded, text_len=16)(SENTENCE), TextEncoder.in_folder(folder, text_len=16)(SENTENCE)
    )


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_files_run_in_bfloat16(folder, tmp_path, stored):
    half = write_folder(tmp_path / "half", official_tensors(stored))
    assert {parameter.dtype for parameter in load_umt5(half).parameters()} == {torch.bfloat16}
    embeddings = TextEncoder.in_folder(half, text_len=16)(SENTENCE)
    assert embeddings.dtype == torch.float32
    assert relative_error(embeddings, TextEncoder.in_folder(folder, text_len=16)(SENTENCE)) < 0.05


def test_the_cache_is_used_and_knows_text_and_model(folder, tmp_path):
    cache = tmp_path / "cache"
    first = TextEncoder.in_folder(folder, text_len=16, cache=cache)
    made = first(SENTENCE)
    (file,) = cache.iterdir()
    save_file({"embeddings": load_file(file)["embeddings"] + 1}, file)  # a mark that only the cache can have left
    again = TextEncoder.in_folder(folder, text_len=16, cache=cache)
    torch.testing.assert_close(again(f" {SENTENCE} ")[0, :TOKENS], made[0, :TOKENS] + 1)
    assert torch.equal(again(SENTENCE)[0, TOKENS:], torch.zeros(16 - TOKENS, DIM))
    first("a fox")
    assert len(list(cache.iterdir())) == 2
    shorter = TextEncoder.in_folder(folder, text_len=6)(SENTENCE)
    assert torch.equal(TextEncoder.in_folder(folder, text_len=6, cache=cache)(SENTENCE), shorter)
    assert torch.equal(TextEncoder.in_folder(folder, text_len=16)("a fox"), again("a fox"))
    os.utime(folder / "model.safetensors", (1, 1))
    assert torch.equal(TextEncoder.in_folder(folder, text_len=16, cache=cache)(SENTENCE), made)
    assert len(list(cache.iterdir())) == 4


def test_embeddings_can_be_trained_with(folder):
    encoder = TextEncoder.in_folder(folder, text_len=16)
    with torch.inference_mode():
        encoder("snow")
    embeddings = encoder("a fox")
    weight = torch.ones(DIM, requires_grad=True)
    (embeddings * weight).sum().backward()
    assert not embeddings.requires_grad


def test_what_does_not_fit_is_said(folder, tmp_path):
    with pytest.raises(UserError, match=r"not installed: there is no .*config\.json"):
        TextEncoder.in_folder(tmp_path, text_len=16)
    tensors = official_tensors()
    with pytest.raises(UserError, match=r"'extra\.weight' is no tensor"):
        from_official(tensors | {"extra.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"blocks\.0\.attn\.k\.bias' is no tensor"):
        from_official({"blocks.0.attn.k.bias": torch.zeros(1)})
    renamed = from_official(tensors)
    renamed["odd.weight"] = renamed.pop("encoder.final_layer_norm.weight")
    encoder = TextEncoder.in_folder(write_folder(tmp_path / "odd", renamed), text_len=16)
    with pytest.raises(UserError, match=r"1 tensors are missing \['encoder\.final.*1 are unknown \['odd\.weight'\]"):
        encoder("a fox")
    broken = write_folder(tmp_path / "broken", tensors)
    (broken / "tokenizer.json").write_text((broken / "tokenizer.json").read_text().replace("</s>", "<end>"))
    with pytest.raises(UserError, match="knows no </s>"):
        TextEncoder.in_folder(broken, text_len=16)
