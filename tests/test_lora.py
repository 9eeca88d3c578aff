"""Laws of LoRA files: every spelling means the same, every key is accounted for, merged equals unmerged."""

from collections.abc import Callable

import pytest
import torch
from diffusers.loaders import lora_conversion_utils as oracle
from safetensors.torch import save_file
from torch import Tensor

from engine.dit import DiT, DiTConfig
from engine.loras.file import lora_from, read_lora
from engine.loras.keys import module_names
from engine.loras.lora import Branches, Change, Decomposed, Difference, Kronecker, LowRank, merge, merged
from storage.schema import UserError

RANK, ALPHA = 3, 1.5
ATTENTION = [f"{attn}.{leaf}" for attn in ("self_attn", "cross_attn") for leaf in "qkvo"]
IN_BLOCK = [*ATTENTION, "ffn.0", "ffn.2"]
OUTSIDE = [
    "patch_embedding",
    "text_embedding.0",
    "text_embedding.2",
    "time_embedding.0",
    "time_embedding.2",
    "time_projection.1",
    "head.head",
]
MODULES = [f"blocks.{block}.{module}" for block in range(2) for module in IN_BLOCK] + OUTSIDE

DIFFUSERS = {  # by hand, from diffusers' scripts/convert_wan_to_diffusers.py
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}


def network(layers: int = 2, seed: int = 0) -> DiT:
    torch.manual_seed(seed)
    config = DiTConfig(
        dim=12, ffn_dim=20, freq_dim=8, heads=2, layers=layers, in_dim=36, out_dim=16, text_dim=10, text_len=4
    )
    return DiT(config).requires_grad_(False)


def tensors_of(net: DiT) -> dict[str, Tensor]:
    return dict(net.named_parameters())


def random_pairs(net: DiT, modules: list[str], seed: int = 1, rank: int = RANK) -> dict[str, tuple[Tensor, Tensor]]:
    """For each module the pair down [rank, in...], up [out, rank...]."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for module in modules:
        out, *rest = net.get_parameter(f"{module}.weight").shape
        ones = [1] * (len(rest) - 1)
        pairs[module] = (
            torch.randn(rank, *rest, generator=generator) / 4,
            torch.randn(out, rank, *ones, generator=generator) / 4,
        )
    return pairs


def in_diffusers(module: str) -> str:
    if not module.startswith("blocks."):
        return DIFFUSERS[module]
    _, number, rest = module.split(".", 2)
    return f"blocks.{number}.{DIFFUSERS[rest]}"


def in_lycoris(module: str) -> str:
    """lycoris keeps self_attn, and writes what is under it as diffusers does."""
    named = in_diffusers(module).replace("attn1", "self_attn").replace("attn2", "cross_attn")
    return "lycoris_" + named.replace(".", "_")


AB, AB_DEFAULT = ("lora_A.weight", "lora_B.weight"), ("lora_A.default.weight", "lora_B.default.weight")
DOWN_UP = ("lora_down.weight", "lora_up.weight")
STYLES: dict[str, tuple[Callable[[str], str], tuple[str, str], bool]] = {
    "native": (lambda m: f"diffusion_model.{m}", DOWN_UP, True),
    "native, whole model": (lambda m: f"model.diffusion_model.{m}", DOWN_UP, True),
    "peft for comfy": (lambda m: f"diffusion_model.{m}", AB, False),
    "peft for comfy, alpha": (lambda m: f"diffusion_model.{m}", AB, True),
    "svi": (lambda m: m, AB_DEFAULT, False),
    "bare, alpha": (lambda m: m, DOWN_UP, True),
    "diffsynth": (lambda m: f"pipe.dit.{m}", AB_DEFAULT, False),
    "plain peft": (lambda m: f"base_model.model.{m}", AB, False),
    "diffusers": (lambda m: f"transformer.{in_diffusers(m)}", AB, False),
    "diffusers, old": (lambda m: f"transformer.{in_diffusers(m)}", ("lora.down.weight", "lora.up.weight"), False),
    "musubi": (lambda m: "lora_unet_" + m.replace(".", "_"), DOWN_UP, True),
    "kohya of diffusers": (lambda m: "lora_unet_" + in_diffusers(m).replace(".", "_"), DOWN_UP, True),
    "fun": (lambda m: "lora_unet__" + m.replace(".", "_"), DOWN_UP, True),
    "lycoris": (in_lycoris, DOWN_UP, True),
}


def written(style: str, pairs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    spell, (down_key, up_key), has_alpha = STYLES[style]
    file = {}
    for module, (down, up) in pairs.items():
        file |= {f"{spell(module)}.{down_key}": down, f"{spell(module)}.{up_key}": up}
        if has_alpha:
            file[f"{spell(module)}.alpha"] = torch.tensor(ALPHA)
    return file


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- every spelling means the same ----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_merged_as_its_formula_says(style):
    net, before = network(), copies(tensors_of(network()))
    pairs = random_pairs(net, MODULES)
    lora = lora_from("x", written(style, pairs), tensors_of(net))
    merge(net, [(lora, 0.7)])
    scale = 0.7 * (ALPHA / RANK if STYLES[style][2] else 1.0)
    for name, weight in tensors_of(net).items():
        expected = before[name].double()
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and module in pairs:
            down, up = (factor.double().flatten(1) for factor in pairs[module])
            expected = expected + scale * (up @ down).view(expected.shape)
        torch.testing.assert_close(weight.double(), expected, rtol=0, atol=1e-6, msg=name)
    assert lora.ledger.modules == len(MODULES)
    assert len(lora.ledger.applied) == len(MODULES) * (3 if STYLES[style][2] else 2)


@pytest.mark.parametrize(
    ("style", "convert"),
    [
        ("native", oracle._convert_non_diffusers_wan_lora_to_diffusers),
        ("musubi", oracle._convert_musubi_wan_lora_to_diffusers),
    ],
)
def test_what_diffusers_makes_of_a_file_is_read_as_the_file_itself(style, convert):
    blocks = [module for module in MODULES if module.startswith("blocks.")]
    file = written(style, random_pairs(network(), blocks))
    converted = convert(copies(file))
    assert all("attn1" in key or "attn2" in key or "ffn.net" in key for key in converted)
    ours, theirs = network(), network()
    merge(ours, [(lora_from("x", file, tensors_of(ours)), 1.0)])
    merge(theirs, [(lora_from("x", converted, tensors_of(theirs)), 1.0)])
    for name, weight in tensors_of(ours).items():
        torch.testing.assert_close(weight, theirs.get_parameter(name), rtol=0, atol=1e-6)


def test_no_two_modules_share_a_spelling():
    """At full size: each native name stands for itself, in both ways of writing it."""
    names = [name for name, _ in network(layers=40).named_parameters()]
    spelt = module_names(names)
    modules = {name.rpartition(".")[0] if name.endswith(("weight", "bias")) else name for name in names}
    assert len(modules) == 40 * (8 + 4 + 2 + 1 + 1) + len(OUTSIDE) + 1
    assert all(spelt[module] == module and spelt[module.replace(".", "_")] == module for module in modules)
    assert spelt["blocks_12_attn1_to_out_0"] == "blocks.12.self_attn.o"
    assert spelt["blocks.1.norm2"] == "blocks.1.norm3"
    assert spelt["blocks.1.scale_shift_table"] == "blocks.1.modulation"
    assert spelt["scale_shift_table"] == "head.modulation"


def test_the_svi_pro_file_hits_400_modules():
    net = network(layers=40)
    modules = [f"blocks.{block}.{module}" for block in range(40) for module in IN_BLOCK]
    lora = lora_from("svi", written("svi", random_pairs(net, modules, rank=1)), tensors_of(net))
    assert lora.ledger.modules == 400
    assert str(lora.ledger) == "svi: 800 keys applied to 400 modules"
    assert set(lora.changes) == {f"{module}.weight" for module in modules}


def test_a_file_is_read_for_a_network_without_data(tmp_path):
    net = network()
    file = written("svi", random_pairs(net, MODULES))
    save_file({key: tensor.contiguous().half() for key, tensor in file.items()}, tmp_path / "a.safetensors")
    lora = read_lora(tmp_path / "a.safetensors", tensors_of(net.to("meta")))
    assert lora.ledger.file == "a.safetensors"
    assert lora.ledger.modules == len(MODULES)


# ---- other changes --------------------------------------------------------------------------------------------------


def delta_of(file: dict[str, Tensor], parameter: str) -> Tensor:
    """What the file adds to one parameter of the network at strength 1; it must add to no other."""
    net = network()
    before = copies(tensors_of(net))
    merge(net, [(lora_from("x", file, before), 1.0)])
    changed = [name for name, tensor in tensors_of(net).items() if not torch.equal(tensor, before[name])]
    assert changed == [parameter]
    return net.get_parameter(parameter) - before[parameter]


@pytest.mark.parametrize(
    ("key", "parameter"),
    [
        ("diffusion_model.blocks.0.self_attn.norm_q.diff", "blocks.0.self_attn.norm_q.weight"),
        ("diffusion_model.blocks.0.norm3.diff", "blocks.0.norm3.weight"),
        ("diffusion_model.blocks.0.norm3.diff_b", "blocks.0.norm3.bias"),
        ("transformer.blocks.0.norm2.diff", "blocks.0.norm3.weight"),
        ("diffusion_model.blocks.1.ffn.2.diff_b", "blocks.1.ffn.2.bias"),
        ("diffusion_model.blocks.1.diff_m", "blocks.1.modulation"),
        ("diffusion_model.blocks.1.modulation.diff", "blocks.1.modulation"),
        ("diffusion_model.blocks.1.modulation.diff_m", "blocks.1.modulation"),
        ("diffusion_model.head.diff_m", "head.modulation"),
        ("diffusion_model.head.modulation.diff", "head.modulation"),
        ("diffusion_model.head.head.diff", "head.head.weight"),
        ("diffusion_model.patch_embedding.diff", "patch_embedding.weight"),
        ("diffusion_model.time_projection.1.diff_b", "time_projection.1.bias"),
        ("lora_unet_blocks_0_cross_attn_norm_k.diff", "blocks.0.cross_attn.norm_k.weight"),
    ],
)
def test_a_difference_is_added(key, parameter):
    difference = torch.randn_like(network().get_parameter(parameter))
    torch.testing.assert_close(delta_of({key: difference}, parameter), difference, rtol=0, atol=1e-6)


def test_a_bias_of_the_up_matrix_is_scaled_as_the_product_is():
    net = network()
    down, up = random_pairs(net, ["blocks.0.ffn.0"])["blocks.0.ffn.0"]
    bias = torch.randn(20)
    module = "transformer.blocks.0.ffn.net.0.proj"
    file = {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": 0 * up, f"{module}.lora_B.bias": bias}
    torch.testing.assert_close(delta_of(file, "blocks.0.ffn.0.bias"), bias, rtol=0, atol=1e-6)
    file[f"{module}.alpha"] = torch.tensor(ALPHA)
    torch.testing.assert_close(delta_of(file, "blocks.0.ffn.0.bias"), ALPHA / RANK * bias, rtol=0, atol=1e-6)


def test_a_product_and_a_difference_of_one_module_are_both_added():
    down, up = random_pairs(network(), ["head.head"])["head.head"]
    difference = torch.randn(64, 12)
    file = {"head.head.lora_down.weight": down, "head.head.lora_up.weight": up, "head.head.diff": difference}
    torch.testing.assert_close(delta_of(file, "head.head.weight"), up @ down + difference, rtol=0, atol=1e-6)


def test_lokr_of_whole_matrices_knows_no_alpha():
    first, second = torch.randn(4, 3), torch.randn(3, 4)
    file = {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(7.0)}
    delta = delta_of(
        {f"lycoris_blocks_0_self_attn_to_q.{key}": t for key, t in file.items()}, "blocks.0.self_attn.q.weight"
    )
    by_hand = torch.cat([torch.cat([first[i, j] * second for j in range(3)], dim=1) for i in range(4)])
    torch.testing.assert_close(delta, by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factored", ["w1", "w2", "both"])
def test_lokr_of_factored_matrices_is_scaled_by_alpha_over_rank(factored):
    first_a, first_b, second_a, second_b = torch.randn(4, 2), torch.randn(2, 3), torch.randn(3, 2), torch.randn(2, 4)
    one = {"lokr_w1": first_a @ first_b} if factored == "w2" else {"lokr_w1_a": first_a, "lokr_w1_b": first_b}
    two = {"lokr_w2": second_a @ second_b} if factored == "w1" else {"lokr_w2_a": second_a, "lokr_w2_b": second_b}
    file = {f"diffusion_model.blocks.0.self_attn.q.{key}": tensor for key, tensor in (one | two).items()}
    whole = torch.kron(first_a @ first_b, second_a @ second_b)
    parameter = "blocks.0.self_attn.q.weight"
    torch.testing.assert_close(delta_of(file, parameter), whole, rtol=0, atol=1e-5)
    file["diffusion_model.blocks.0.self_attn.q.alpha"] = torch.tensor(1.0)
    torch.testing.assert_close(delta_of(file, parameter), whole / 2, rtol=0, atol=1e-5)


def test_lokr_of_a_convolution():
    first, second = torch.randn(3, 6), torch.randn(4, 6, 1, 2, 2)
    file = {"patch_embedding.lokr_w1": first, "patch_embedding.lokr_w2": second}
    expected = torch.einsum("ab,cdkhw->acbdkhw", first, second).reshape(12, 36, 1, 2, 2)
    torch.testing.assert_close(delta_of(file, "patch_embedding.weight"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("suffix", "shape", "by_column"),
    [
        ("dora_scale", (12, 1), False),
        ("dora_scale", (1, 12), True),
        ("lora_magnitude_vector", (12,), False),
        ("lora_magnitude_vector.default.weight", (12,), False),
    ],
)
def test_dora_gives_rows_or_columns_the_lengths_it_learnt(suffix, shape, by_column):
    net = network()
    name = "blocks.0.self_attn.q.weight"
    weight = net.get_parameter(name)
    file = written("native", random_pairs(net, ["blocks.0.self_attn.q"]))
    magnitude = 1 + torch.rand(12)
    file[f"diffusion_model.blocks.0.self_attn.q.{suffix}"] = magnitude.view(shape)
    lora = lora_from("x", file, tensors_of(net))
    merge(net, [(lora, 1.0)])
    learnt = net.get_parameter(name)
    torch.testing.assert_close(learnt.norm(dim=0 if by_column else 1), magnitude)
    plain = merged(weight, [(lora.changes[name][0].change, 1.0)])
    along = torch.nn.functional.cosine_similarity(learnt, plain, dim=0 if by_column else 1)
    torch.testing.assert_close(along, torch.ones(12))


def test_dora_with_the_lengths_of_the_weight_and_no_product_changes_nothing():
    weight = network().get_parameter("blocks.0.ffn.0.weight")
    nothing = LowRank(torch.zeros(1, 12), torch.zeros(20, 1), 1.0)
    for lengths in (weight.norm(dim=1, keepdim=True), weight.norm(dim=0, keepdim=True)):
        torch.testing.assert_close(Decomposed(nothing, lengths).delta(weight), torch.zeros(20, 12), rtol=0, atol=1e-6)


# ---- merged ---------------------------------------------------------------------------------------------------------


def test_several_at_once_are_summed_in_float32_and_rounded_once():
    weight = torch.ones(1, 1, dtype=torch.bfloat16)
    small = Difference(torch.full((1, 1), 2.0**-9))  # the next bfloat16 after 1 is 1 + 2^-7
    assert merged(weight, [(small, 1.0)]).item() == 1.0
    assert merged(weight, [(small, 1.0)] * 3).item() == 1 + 2.0**-7
    assert merged(weight, [(small, 3.0)]).dtype == torch.bfloat16


def test_the_order_of_loras_does_not_matter_even_for_dora():
    changes: list[tuple[Change, float]] = [
        (LowRank(torch.randn(2, 12), torch.randn(20, 2), 0.5), 0.8),
        (Decomposed(LowRank(torch.randn(2, 12), torch.randn(20, 2), 0.5), torch.rand(20)), 0.6),
        (Kronecker((torch.randn(5, 3),), (torch.randn(4, 4),), 1.0), -0.4),
    ]
    weight = torch.randn(20, 12)
    torch.testing.assert_close(merged(weight, changes), merged(weight, changes[::-1]), rtol=0, atol=1e-5)


def test_nobodys_tensors_are_changed_in_place():
    """Not the file's, and not those that the network held: the same file merged again gives the same again."""
    net = network()
    held, file = tensors_of(net), everything(network())
    before, file_before = copies(held), copies(file)
    first = lora_from("x", file, held)
    branches = Branches(net, [first])
    branches.use([1.0])
    branches.use([0.0])
    merge(net, [(first, 1.0)])
    assert same(held, before)
    assert same(file, file_before)
    again = network()
    merge(again, [(lora_from("x", file, tensors_of(again)), 1.0)])
    assert same(tensors_of(net), tensors_of(again))


def test_strength_zero_leaves_every_bit():
    net = network()
    merge(net, [(lora_from("x", everything(net), tensors_of(net)), 0.0)])
    assert same(tensors_of(net), tensors_of(network()))


# ---- merged equals unmerged -----------------------------------------------------------------------------------------


def everything(net: DiT, seed: int = 1) -> dict[str, Tensor]:
    """A file with every kind of change, for every module of the network."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / 8

    file = written("native", random_pairs(net, MODULES, seed))
    file["diffusion_model.blocks.0.ffn.0.dora_scale"] = 1 + random(20, 1)
    for key in [key for key in file if ".blocks.1.self_attn.k." in key]:
        del file[key]
    file |= {f"blocks.1.self_attn.k.lokr_{key}": random(*shape) for key, shape in (("w1", (3, 4)), ("w2", (4, 3)))}
    for name, tensor in net.named_parameters():
        if name.endswith("bias"):
            file[f"{name.removesuffix('.bias')}.diff_b"] = random(*tensor.shape)
        elif name.endswith("modulation"):
            file[f"{name.removesuffix('.modulation')}.diff_m"] = random(*tensor.shape)
        elif "norm" in name:
            file[f"{name.removesuffix('.weight')}.diff"] = random(*tensor.shape)
    return file


def predict(net: DiT) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    inputs, text = torch.randn(1, 36, 3, 4, 4, generator=generator), torch.randn(1, 4, 10, generator=generator)
    with torch.no_grad():
        return net(inputs, torch.tensor([0.6], dtype=torch.float64), net.encode_text(text))


STRENGTHS = [(1.0, 0.0), (0.5, 1.2), (0.0, 0.0), (0.0, -0.7)]


def test_merged_equals_unmerged_at_every_strength():
    net = network()
    plain, before = predict(net), copies(tensors_of(net))
    loras = [lora_from(str(seed), everything(net, seed), tensors_of(net)) for seed in (1, 2)]
    branches = Branches(net, loras)
    assert torch.equal(predict(net), plain)
    for strengths in STRENGTHS:
        branches.use(strengths)
        baked = network()
        merge(baked, list(zip(loras, strengths, strict=True)))
        torch.testing.assert_close(predict(net), predict(baked), rtol=1e-5, atol=1e-5)
        assert any(strengths) == (not torch.equal(predict(net), plain))
    branches.use((0.0, 0.0))
    assert torch.equal(predict(net), plain)
    assert same(tensors_of(net), before)


@pytest.mark.parametrize("module", ["blocks.0.ffn.0", "blocks.1.self_attn.k", "blocks.0.cross_attn.o", "head.head"])
def test_merged_equals_unmerged_module_by_module(module):
    net, baked = network(), network()
    lora = lora_from("x", everything(net), tensors_of(net))
    merge(baked, [(lora, 0.8)])
    x = torch.randn(5, net.get_submodule(module).in_features)
    Branches(net, [lora]).use([0.8])
    with torch.no_grad():
        torch.testing.assert_close(net.get_submodule(module)(x), baked.get_submodule(module)(x), rtol=0, atol=2e-6)


def test_loras_may_change_different_modules():
    """Merged and unmerged, each one reaches its own."""
    net = network()
    held = tensors_of(net)
    files = [{"blocks.0.norm3.diff": torch.randn(12)}, written("svi", random_pairs(net, ["blocks.1.ffn.2"]))]
    loras = [lora_from("x", file, held) for file in files]
    expected = {"blocks.0.norm3.weight", "blocks.1.ffn.2.weight"}
    baked = network()
    merge(baked, [(lora, 1.0) for lora in loras])
    assert {name for name, tensor in tensors_of(baked).items() if not torch.equal(tensor, held[name])} == expected
    Branches(net, loras).use([1.0, 1.0])
    torch.testing.assert_close(predict(net), predict(baked), rtol=1e-5, atol=1e-5)


def test_a_network_in_bfloat16_stays_in_bfloat16():
    net = network().to_precision(torch.bfloat16)
    types = {name: tensor.dtype for name, tensor in net.named_parameters()}
    lora = lora_from("x", everything(net), tensors_of(net))
    branches = Branches(net, [lora])
    branches.use([0.8])
    unmerged = predict(net)
    assert {name: tensor.dtype for name, tensor in net.named_parameters()} == types
    branches.use([0.0])
    merge(net, [(lora, 0.8)])
    assert {name: tensor.dtype for name, tensor in net.named_parameters()} == types
    assert (unmerged - predict(net)).norm() < 0.03 * unmerged.norm()


def test_as_many_strengths_as_loras():
    net = network()
    branches = Branches(net, [])
    with pytest.raises(ValueError, match="0 LoRAs"):
        branches.use([1.0])


# ---- every key is accounted for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight",
        "diffusion_model.blocks.0.cross_attn.v_img.diff_b",
        "diffusion_model.blocks.0.cross_attn.norm_k_img.diff",
        "lora_unet_blocks_0_cross_attn_k_img.lora_up.weight",
        "diffusion_model.img_emb.proj.1.lora_A.weight",
        "lora_unet_img_emb_proj_3.alpha",
        "transformer.blocks.0.attn2.add_k_proj.lora_A.weight",
        "transformer.blocks.0.attn2.norm_added_k.diff",
        "transformer.condition_embedder.image_embedder.ff.net.2.lora_B.weight",
    ],
)
def test_the_image_branch_of_wan_2_1_is_ignored_by_name(key):
    net = network()
    file = written("native", random_pairs(net, ["blocks.0.cross_attn.k"])) | {key: torch.randn(2, 2)}
    ledger = lora_from("old", file, tensors_of(net)).ledger
    assert ledger.ignored == (key,)
    assert set(ledger.applied) | set(ledger.ignored) == set(file)
    assert str(ledger) == "old: 3 keys applied to 1 modules, 1 ignored (Wan2.1's image branch)"


@pytest.mark.parametrize(
    "key",
    [
        "diffusion_model.blocks.2.self_attn.q.lora_A.weight",  # the network has blocks 0 and 1
        "diffusion_model.blocks.0.self_attn.qkv.lora_A.weight",
        "diffusion_model.blocks.0.self_attn.q.hada_w1_a",
        "diffusion_model.blocks.0.self_attn.q",
        "blocks.0.self_attn.q.weight",
        "diffusion_model.blocks.0.cross_attn.talk_img.lora_A.weight",
        "diffusion_model.blocks.0.cross_attn.k_imgs.lora_A.weight",
        "lora_te_text_model.alpha",
        "something",
    ],
)
def test_a_key_that_is_unknown_fails_the_load_and_is_named(key):
    net = network()
    file = written("native", random_pairs(net, ["blocks.0.self_attn.q"])) | {key: torch.randn(2, 2)}
    with pytest.raises(UserError, match="1 keys that this model does not know") as failure:
        lora_from("x", file, tensors_of(net))
    assert key in str(failure.value)


@pytest.mark.parametrize("gone", ["lora_down.weight", "lora_up.weight"])
def test_half_a_pair_fails_the_load_and_is_named(gone):
    net = network()
    file = written("native", random_pairs(net, ["blocks.0.self_attn.q"]))
    del file[f"diffusion_model.blocks.0.self_attn.q.{gone}"]
    with pytest.raises(UserError, match="not complete") as failure:
        lora_from("x", file, tensors_of(net))
    assert all(key in str(failure.value) for key in file)


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [("alpha", ()), ("dora_scale", (12, 1)), ("lokr_w1", (2, 2)), ("lokr_w2_a", (2, 2)), ("lora_B.bias", (12,))],
)
def test_a_part_without_its_counterpart_fails_the_load(suffix, shape):
    with pytest.raises(UserError, match="not complete"):
        lora_from("x", {f"blocks.0.self_attn.q.{suffix}": torch.ones(shape)}, tensors_of(network()))


@pytest.mark.parametrize(
    "file",
    [
        {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 13), "blocks.0.ffn.0.lora_B.weight": torch.ones(20, 2)},
        {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 20), "blocks.0.ffn.0.lora_B.weight": torch.ones(12, 2)},
        {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 12), "blocks.0.ffn.0.lora_B.weight": torch.ones(20, 3)},
        {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 12), "blocks.0.ffn.0.lora_B.weight": torch.ones(21, 2)},
        {"blocks.0.ffn.0.diff": torch.ones(12, 20)},
        {"blocks.0.ffn.0.diff": torch.ones(240)},
        {"blocks.0.norm3.diff": torch.ones(1)},
        {"blocks.0.ffn.0.lokr_w1": torch.ones(4, 4), "blocks.0.ffn.0.lokr_w2": torch.ones(5, 4)},
        {"blocks.0.diff_b": torch.ones(12)},
        {"blocks.0.self_attn.norm_q.diff_b": torch.ones(12)},
        {
            "blocks.0.ffn.0.lora_A.weight": torch.ones(2, 12),
            "blocks.0.ffn.0.lora_B.weight": torch.ones(20, 2),
            "blocks.0.ffn.0.dora_scale": torch.ones(12, 1),
        },
    ],
)
def test_a_shape_that_does_not_fit_fails_the_load_and_is_named(file):
    with pytest.raises(UserError, match="does not fit") as failure:
        lora_from("x", file, tensors_of(network()))
    assert all(f"{key} {list(tensor.shape)}" in str(failure.value) for key, tensor in file.items())


def test_the_same_part_in_two_spellings_fails_the_load():
    net = network()
    pairs = random_pairs(net, ["blocks.0.self_attn.q"])
    with pytest.raises(UserError, match="twice"):
        lora_from("x", written("native", pairs) | written("diffusers", pairs), tensors_of(net))


def test_a_file_that_is_none_says_so(tmp_path):
    (tmp_path / "page.safetensors").write_text("<html>")
    for name in ("page.safetensors", "missing.safetensors"):
        with pytest.raises(UserError, match=f"The LoRA {name} cannot be read"):
            read_lora(tmp_path / name, {})
