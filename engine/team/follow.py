"""A process that films along with a leader (engine/team/lead.py) on a GPU of its own: it reads orders and predicts.

It has the experts alone. It ends when the leader's pipe closes, whatever it is at, and with its first error, which it
tells the leader.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from engine.condition import MASK_CHANNELS
from engine.magcache import MagCache
from engine.memory import Tier, available_bytes
from engine.team.followers import make_group
from engine.team.orders import ORDER, Begin, Join, Load, Measure, Order, Predict, Reply, Settle, Sheet
from engine.team.team import Team
from engine.velocity import Networks, Scene, WindowVelocity
from storage.schema import Plan, UserError

log = logging.getLogger("longtake.follow")

Loads = Callable[[Plan, Tier], Networks]
LoaderOf = Callable[[Join], Loads]  # what loads, once a device and settings are known


def follow(loader_of: LoaderOf) -> None:
    """Follow the leader at the other end of stdin and stdout until it ends; this does not come back."""
    for number in (signal.SIGTERM, signal.SIGINT):  # for the leader, who comes to an end in order
        signal.signal(number, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no reply
    orders: SimpleQueue[Order] = SimpleQueue()
    Thread(target=_read, args=(sys.stdin.buffer, orders), daemon=True).start()
    last = Reply()
    try:
        _obey(orders, replies, loader_of)
    except torch.OutOfMemoryError as error:
        last = Reply(cause="memory", error=_line(error))
    except UserError as error:
        last = Reply(cause="user", error=str(error))
    except Exception as error:  # the outermost place: the leader says it, too
        log.exception("cannot go on")
        last = Reply(cause="fault", error=f"{type(error).__name__}: {_line(error)}")
    _say(replies, last)
    os._exit(1)  # at once, without waiting for work that the GPU has not finished


def _obey(orders: "SimpleQueue[Order]", replies: BinaryIO, loader_of: LoaderOf) -> None:
    join = orders.get()
    assert isinstance(join, Join), "the first order"
    follower = Follower(join, loader_of(join))
    _say(replies, Reply())
    store = TCPStore("127.0.0.1", join.port, join.size, is_master=False)
    make_group(store, join.rank, join.size, follower.device)
    with torch.inference_mode():
        while True:
            reply = follower.done(orders.get())
            if reply is not None:
                _say(replies, reply)


class Follower:
    """One of a team, but not its first: does one order after the other."""

    def __init__(self, join: Join, loads: Loads) -> None:
        self.device = torch.device(join.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.zeros(1, device=self.device)  # a GPU that fails does so here, before others wait for this process
        if join.settings.threads:
            torch.set_num_threads(join.settings.threads)
        self._memory_gib = join.settings.memory_gib
        self._team = Team(join.rank, join.size)
        self._loads = loads
        self._networks: Networks | None = None
        self._predicted: WindowVelocity | None = None

    def done(self, order: Order) -> Reply | None:
        """Do what is ordered. -> the answer, if one is waited for"""
        match order:
            case Measure():
                return Reply(available=available_bytes(self.device, self._memory_gib))
            case Load(plan=plan, tier=tier):
                self._predicted = self._networks = None  # they go before others come
                self._networks = self._loads(plan, tier)
                return Reply()
            case Begin():
                self._predicted = self._begun(order)
            case Predict():
                self._predict(order)
            case Settle():
                self._predicted = None
                self._team.each(torch.full((1,), 1.0, device=self.device))
            case Join():
                raise ValueError("a process joins once")
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # an error of the GPU is heard of now
        return None

    def _begun(self, order: Begin) -> WindowVelocity:
        assert self._networks is not None, "loaded before"
        given, positive, negative, bias = (self._received(sheet) for sheet in order.scene)
        assert given is not None
        assert positive is not None
        cache = MagCache.of(order.sampling, order.first_step)
        scene = Scene(given, positive, negative, bias)
        return WindowVelocity(scene, order.sampling, self._networks, cache, order.first_step, self._team)

    def _received(self, sheet: Sheet | None) -> torch.Tensor | None:
        return None if sheet is None else self._team.from_leader(sheet.empty(self.device))

    def _predict(self, order: Predict) -> None:
        assert self._predicted is not None, "begun before"
        given = self._predicted.scene.given
        latents = given.new_empty(given.shape[0], given.shape[1] - MASK_CHANNELS, *given.shape[2:])
        self._team.from_leader(latents)
        self._predicted.go_on(order.step)
        sigma = torch.tensor([order.sigma], dtype=torch.float64, device=self.device)
        self._predicted.predictions(latents, sigma, order.way)


def _read(source: BinaryIO, orders: "SimpleQueue[Order]") -> None:
    """In a thread of its own: hand over the orders; the end of them is the end of this process."""
    for line in source:
        orders.put(ORDER.validate_json(line))
    os._exit(0)


def _say(replies: BinaryIO, reply: Reply) -> None:
    replies.write(reply.model_dump_json().encode() + b"\n")
    replies.flush()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["it said nothing"])[0].rstrip(".")
