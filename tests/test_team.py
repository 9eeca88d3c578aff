"""Two processes at one forward predict what one predicts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from test_streaming import PRECISIONS, SIGMA, inputs, made
from torch import Tensor

from engine.dit import NAG, DiT, TextContext
from engine.magcache import Branch, MagCache, Turn
from engine.team.team import Team
from storage.schema import Expert

PROCESSES = 2


def alone_and_shared(network: DiT, team: Team, predict) -> tuple[Tensor, Tensor]:
    return predict(network.share(None)), predict(network.share(team))


def predictions(network: DiT) -> Tensor:
    """Plain, with blocks left out, with words that belong to frames, with a negative text, and with steps skipped."""
    x, words = inputs(0)
    text = network.encode_text(words)
    bias = torch.randn(x.shape[2], text.keys[0].shape[1], generator=torch.Generator().manual_seed(1))
    negative: TextContext = replace(text, keys=text.values, values=text.keys)
    cache = MagCache([(1.0, 1.0)] * 2, threshold=0.5)
    velocities = [
        network(x, SIGMA, text),
        network(x, SIGMA, text, skip_blocks=(2, 6)),
        network(x, SIGMA, text.with_bias(bias)),
        network(x, SIGMA, text.with_negative(negative), nag=NAG(3.0, 2.5, 0.5)),
        *(
            cache.predict(network, Turn(step, Branch.POSITIVE, Expert.LOW_NOISE), x + step + 1, SIGMA, text)
            for step in range(2)
        ),
    ]
    return torch.stack(velocities)


@torch.inference_mode()
def process(rank: int, rendezvous: str, out: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=PROCESSES)
    team, seen = Team.here(), {}
    for precision in PRECISIONS:
        network = made(1, precision)
        seen[precision] = alone_and_shared(network, team, predictions)
    heads = torch.randn(2, 6, 4, 5)
    assert torch.equal(team.to_tokens(team.to_heads(heads)), heads)
    torch.save(seen, f"{out}-{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """What each process predicted, alone and shared."""
    folder: Path = tmp_path_factory.mktemp("team")
    torch.multiprocessing.spawn(process, (str(folder / "rendezvous"), str(folder / "seen")), PROCESSES)
    return [torch.load(folder / f"seen-{rank}") for rank in range(PROCESSES)]


def test_a_shared_forward_is_that_of_one_process(seen):
    """But for the last bits of float32 products, which a CPU may add up otherwise for fewer rows."""
    alone, shared = seen[0]["float32"]
    assert len({float(velocity.sum()) for velocity in alone}) == len(alone), "no two predictions are of the same kind"
    torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_in_every_precision_it_is_as_near_as_rounding_lets_it(seen, precision: str):
    """With fp8 attention numbers are rounded after all tokens of a head have met, so by other scales."""
    alone, shared = seen[0][precision]
    assert torch.cosine_similarity(alone.flatten(1), shared.flatten(1)).min() > 0.9999


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_processes_get_the_same_velocity(seen, precision: str):
    assert torch.equal(seen[0][precision][1], seen[1][precision][1])


def test_tokens_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(ValueError, match="5 cannot be shared evenly by 2"):
        Team(rank=0, size=2).part(torch.ones(1, 5), dim=1)
