"""Networks whose blocks take turns on the device: the same numbers as when they stay, whatever there is room for."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from engine.dit import TEXT_PRODUCTS, DiT, DiTConfig, TextContext
from engine.magcache import Branch, MagCache, Turn
from engine.streaming import RING, Pool, resident_blocks
from storage.schema import Expert

CPU = torch.device("cpu")
SIZES = DiTConfig(dim=64, heads=4, ffn_dim=96, freq_dim=32, layers=7, text_dim=16, text_len=8)
PRECISIONS: dict[str, Callable[[DiT], DiT]] = {
    "float32": lambda network: network,
    "bfloat16": lambda network: network.to_precision(torch.bfloat16),
    "fp8": lambda network: network.to_precision(torch.bfloat16).to_fp8(attention=False),
    "fp8-attention": lambda network: network.to_precision(torch.bfloat16).to_fp8(attention=True),
}
SIGMA = torch.tensor([0.7], dtype=torch.float64)


def made(seed: int, precision: str = "float32") -> DiT:
    torch.manual_seed(seed)
    return PRECISIONS[precision](DiT(SIZES).eval().requires_grad_(False))


def streamed(pool: Pool, network: DiT) -> DiT:
    pool.add(network, list(network.blocks), fetched=TEXT_PRODUCTS)
    return network


def inputs(seed: int) -> tuple[Tensor, Tensor]:
    """What a forward reads, [B, 36, T, h, w], and a text, [B, S, text_dim]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 36, 2, 4, 6, generator=generator), torch.randn(1, 5, SIZES.text_dim, generator=generator)


@torch.inference_mode()
def velocity(network: DiT, seed: int = 0, skip_blocks: Sequence[int] = ()) -> Tensor:
    x, text = inputs(seed)
    return network(x, SIGMA, network.encode_text(text), skip_blocks)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("blocks", [0, 1, 3, 4, 5, 6, 7])
def test_a_streamed_network_predicts_what_one_that_stays_predicts(precision: str, blocks: int):
    pool, network = Pool(CPU), made(1, precision)
    expected = [velocity(network, seed, skipped) for seed, skipped in ((0, ()), (1, (2, 3)), (2, (0, 6)), (3, ()))]
    streamed(pool, network)
    pool.resize(blocks * max(pool.sizes))
    for seed, skipped in ((0, ()), (1, (2, 3)), (2, (0, 6)), (3, ())):
        assert torch.equal(velocity(network, seed, skipped), expected[seed])


@pytest.mark.parametrize("blocks", [0, 4, 7])
def test_two_experts_share_the_slots_and_never_their_weights(blocks: int):
    pool, experts = Pool(CPU), {expert: made(number) for number, expert in enumerate(Expert)}
    expected = {expert: velocity(network) for expert, network in experts.items()}
    high, low = Expert
    assert not torch.equal(expected[high], expected[low])
    for network in experts.values():
        streamed(pool, network)
    pool.resize(blocks * pool.sizes[0])
    assert pool.nbytes == max(RING, blocks) * pool.sizes[0]
    for expert in (high, high, low, low, high, low):
        assert torch.equal(velocity(experts[expert]), expected[expert])


def test_step_skipping_reads_a_streamed_network_as_one_that_stays():
    pool, network = Pool(CPU), made(1)
    x, text = inputs(0)
    with torch.inference_mode():
        context = network.encode_text(text)

        def predictions() -> list[Tensor]:
            cache = MagCache([(1.0, 1.0)] * 4, threshold=0.5)
            turns = [Turn(step, Branch.POSITIVE, Expert.LOW_NOISE) for step in range(4)]
            return [cache.predict(network, turn, x + turn.step, SIGMA, context) for turn in turns]

        expected = predictions()
        streamed(pool, network)
        pool.resize(0)
        assert all(torch.equal(a, b) for a, b in zip(predictions(), expected, strict=True))


def test_slots_can_be_fewer_or_more_between_two_films():
    pool, network = Pool(CPU), made(1)
    expected = velocity(network)
    streamed(pool, network)
    for blocks in (7, 0, 5, 5, 4):
        pool.resize(blocks * pool.sizes[0])
        assert pool.nbytes == max(RING, blocks) * pool.sizes[0]
        assert torch.equal(velocity(network), expected)


def test_a_block_with_a_slot_is_copied_once_and_the_others_in_every_forward():
    pool, network = Pool(CPU), made(1)
    streamed(pool, network)
    pool.resize(5 * pool.sizes[0])
    first = velocity(network)
    assert 0 < len(pool.resident) < SIZES.layers
    velocity(network)
    for number in pool.resident:
        network.get_parameter(f"blocks.{number}.ffn.0.weight").zero_()  # in host memory, which nobody reads again
    assert torch.equal(velocity(network), first)
    travelling = next(number for number in range(4, SIZES.layers) if number not in pool.resident)
    network.get_parameter(f"blocks.{travelling}.ffn.0.weight").zero_()
    assert not torch.equal(velocity(network), first)


def test_outside_of_their_turns_the_weights_are_those_that_were_loaded():
    pool, network = Pool(CPU), made(1, "fp8")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    streamed(pool, network)
    pool.resize(0)
    velocity(network)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name].float(), tensor.float()) for name, tensor in before.items())


def test_a_forward_that_fails_leaves_the_slots_in_order():
    class Full(Exception):
        pass

    pool, network = Pool(CPU), made(1)
    expected = velocity(network)
    streamed(pool, network)
    pool.resize(0)

    def fail(*_: object) -> None:
        raise Full

    failing = network.get_submodule("blocks.3.ffn.0").register_forward_pre_hook(fail)
    with pytest.raises(Full):
        velocity(network)
    failing.remove()
    assert torch.equal(velocity(network), expected)


def test_text_is_read_with_weights_that_only_come_for_it():
    pool, network = Pool(CPU), made(1)
    _, text = inputs(0)
    expected: TextContext = network.encode_text(text)
    streamed(pool, network)
    pool.resize(0)
    read = network.encode_text(text)
    assert all(torch.equal(a, b) for a, b in zip(read.keys + read.values, expected.keys + expected.values, strict=True))
    block = nn.Module.__getattr__(network, "blocks")[0]
    travelling = sum(
        part.weight.nbytes
        for name, part in block.named_modules()
        if isinstance(part, nn.Linear) and name not in TEXT_PRODUCTS
    )
    assert pool.sizes[0] == travelling, "a slot has no room for them"


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 24, 40])
def test_as_many_blocks_stay_as_fit_beside_the_ring_and_the_others_are_spread_evenly(layers: int):
    sizes = [10] * layers
    for budget in range(0, 10 * layers + 20, 5):
        resident = resident_blocks(sizes, budget)
        travelling = [number for number in range(layers) if number not in resident]
        assert len(resident) == (layers if budget >= 10 * layers else max(0, budget // 10 - RING))
        if travelling:
            gaps = [b - a for a, b in pairwise([*travelling, travelling[0] + layers])]
            assert max(gaps) - min(gaps) <= 1


def test_large_blocks_stay_first_so_that_the_ring_is_small():
    sizes = [20, *[10] * 8, 20]
    assert resident_blocks(sizes, 70) == (0, 9)
    assert {0, 9} < set(resident_blocks(sizes, 100))
    assert resident_blocks(sizes, 69) == ()
