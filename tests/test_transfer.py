"""Tensors that are read ahead: all of them, in order, and not too many at a time."""

import threading
from functools import partial

import pytest
import torch

from engine.checkpoints import transfer
from engine.checkpoints.transfer import AHEAD, Stage, ahead, brought

CPU = torch.device("cpu")


def test_tensors_come_in_order_and_as_they_were(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transfer, "PIECE", 64)  # so that most come in several pieces
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(3, 5, 7, generator=generator), torch.tensor(2.5), torch.randn(40, generator=generator)]
    tensors += [torch.randn(6, 8, generator=generator).t(), torch.randn(9, 4, generator=generator).bfloat16()]
    tensors += [torch.randn(33, generator=generator).to(torch.float8_e4m3fn), torch.empty(0, 3)] * 4
    got = list(ahead([partial(lambda tensor: tensor, tensor) for tensor in tensors], Stage(CPU)))
    assert len(got) == len(tensors)
    for there, tensor in zip(got, tensors, strict=True):
        assert (there.dtype, there.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(there.float(), tensor.float())
        assert tensor.numel() == 0 or there.data_ptr() != tensor.data_ptr()


def test_no_more_is_read_than_is_asked_for_soon():
    read, lock = [], threading.Lock()

    def one(number: int) -> torch.Tensor:
        with lock:
            read.append(number)
        return torch.tensor(number)

    coming = ahead((partial(one, number) for number in range(100)), lambda tensor: tensor)
    for number in range(20):
        assert int(next(coming)) == number
        assert max(read) <= number + AHEAD
    coming.close()
    assert len(read) <= 20 + AHEAD


def test_a_file_that_cannot_be_read_ends_it_with_its_own_error():
    def broken() -> torch.Tensor:
        raise OSError("cut short")

    coming = ahead([lambda: torch.ones(1), broken, lambda: torch.ones(1)], Stage(CPU))
    assert torch.equal(next(coming), torch.ones(1))
    with pytest.raises(OSError, match="cut short"):
        next(coming)


def test_for_the_cpu_a_tensor_stays_where_it_is():
    tensor = torch.ones(3)
    assert next(brought([lambda: tensor], CPU)) is tensor


def test_compiled_kernels_are_kept_where_a_worker_is_told():
    triton = pytest.importorskip("triton")
    from engine.kernels import keep_compiled
    from engine.settings import EngineSettings

    with triton.knobs.cache.scope():
        keep_compiled(EngineSettings(data_dir="somewhere").kernels)
        assert triton.knobs.cache.dir == "somewhere/kernels"
