"""A follower that fails as its argument says: in an evaluation with blocks that stay, or before it belongs to a group;
else it is a real one. To be run as a process."""

import os
import signal
import sys

import torch

import engine.team.follow
from engine.__main__ import loads_as_told
from engine.memory import Tier
from engine.team.follow import Loads, follow
from engine.team.orders import Join
from engine.velocity import Networks
from storage.schema import Plan


def fail(*_: object) -> None:
    match sys.argv[1]:
        case "memory":
            raise torch.OutOfMemoryError("no room for 1 GiB")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "broken":
            raise ArithmeticError("one and one are three.\nand more")


def loader_of(join: Join) -> Loads:
    loads = loads_as_told(join)

    def load(plan: Plan, tier: Tier) -> Networks:
        networks = loads(plan, tier)
        if tier is Tier.RESIDENT:
            for network in networks.experts.values():
                network.get_submodule("blocks.1.ffn.0").register_forward_pre_hook(fail)
        return networks

    return load


def leave(*_: object) -> None:
    os._exit(3)


if __name__ == "__main__":
    if sys.argv[1] == "gone":
        engine.team.follow.make_group = leave
    follow(loader_of)
