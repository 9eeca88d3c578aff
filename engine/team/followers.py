"""The processes that film along with this one, one for each further GPU: started together, ended together.

They talk through pipes (engine/team/orders.py) and through torch's default group. A process that ends closes its pipe:
followers then end at once, whatever they are at, so none is left behind by a leader that is killed. The leader has a
thread for each follower that waits for its words; when it hears of a fault, or nothing any more, it aborts the group,
so that no exchange waits for who will never come.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue
from threading import Event, Lock, Thread

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from engine.settings import EngineSettings
from engine.team.orders import Join, Order, Reply
from storage.schema import UserError

FOLLOW = (sys.executable, "-m", "engine", "follow")
EXCHANGE_TIMEOUT = timedelta(minutes=5)  # longer than the first forward's kernels take to compile
LISTENING_SECONDS = 0.1  # between two looks at followers while a group is made
ENDING_SECONDS = 5.0  # after an exchange failed: how long to wait for word of the process whose end was the cause
ENVIRONMENT = {  # of the group, unless the machine's owner says otherwise
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",  # one machine: nobody else is to reach it
    "NCCL_NVLS_ENABLE": "0",  # multicast over NVLink: many machines forbid it, and it only makes sums faster
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "2",  # what waits in vain is ended, and this process goes on
}


class TeamBroken(Exception):
    """A process that films along failed or is gone; the text is one sentence that says so."""


@dataclass(frozen=True)
class Follower:
    """One process that films along, and what it has answered."""

    process: subprocess.Popen[bytes]
    device: torch.device
    replies: "SimpleQueue[Reply | None]" = field(default_factory=SimpleQueue)  # None: it is gone


class Followers:
    """All of them. What they cannot do any more is told by `check`, and by `ask`."""

    def __init__(
        self,
        settings: EngineSettings,
        device: torch.device,
        others: Sequence[torch.device],
        command: Sequence[str] = FOLLOW,
    ) -> None:
        """Start one process for each of the `others`, and make a group with them; `device` is this process's own."""
        self._group = Lock()
        self._ending = Event()
        self._broken = Event()
        self._fault: Exception = TeamBroken("The processes that film along have ended.")
        device = _prepared(device)
        size = 1 + len(others)
        store, port = _store(size)
        self._all = [Follower(_started(command), other) for other in others]
        self._threads = [Thread(target=self._listen, args=(each,), daemon=True) for each in self._all]
        for thread in self._threads:
            thread.start()
        try:
            for rank, each in enumerate(self._all, start=1):
                join = Join(settings=settings, device=str(each.device), rank=rank, size=size, port=port)
                self._write(each, join)
            self._replies()
            self._make_group(store, size, device)
        except BaseException as error:
            fault = self.end(error)
            if fault is error:
                raise
            raise fault from error

    def tell(self, order: Order) -> None:
        """Give all of them an order."""
        for each in self._all:
            self._write(each, order)

    def ask(self, order: Order) -> list[Reply]:
        """Give all of them an order that they answer."""
        self.tell(order)
        return self._replies()

    def answers(self) -> list[Reply]:
        """What they say to an order that was told."""
        return self._replies()

    def check(self) -> None:
        """Raise what is wrong with them, if anything: OutOfMemoryError, UserError, or TeamBroken."""
        if self._broken.is_set():
            raise self._fault

    @property
    def broken(self) -> bool:
        """Whether something is, or one has ended of which nobody has heard yet."""
        return self._broken.is_set() or any(_ended(each.process.pid) for each in self._all)

    def end(self, error: BaseException | None = None) -> BaseException:
        """End all of them. -> what was to blame for `error`: a follower's own, or `error` itself"""
        if error is not None and not isinstance(error, torch.OutOfMemoryError):
            self._broken.wait(ENDING_SECONDS if isinstance(error, RuntimeError | OSError) else 0)
        self._ending.set()
        for each in self._all:
            each.process.kill()
        for thread in self._threads:
            thread.join()
        self._abort(forget=True)
        for each in self._all:
            each.process.wait()
            for pipe in (each.process.stdin, each.process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        return self._fault if self._broken.is_set() else error or self._fault

    # ---- inside ----

    def _make_group(self, store: TCPStore, size: int, device: torch.device) -> None:
        """In a thread, since whoever ends meanwhile would be waited for without end."""
        failed: list[Exception] = []

        def make() -> None:
            try:
                make_group(store, 0, size, device)
            except Exception as error:  # noqa: BLE001 - raised below
                failed.append(error)

        thread = Thread(target=make, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LISTENING_SECONDS)
            self.check()
        if failed:
            raise failed[0]

    def _listen(self, follower: Follower) -> None:
        """In a thread of its own: hand over what a follower says, and abort the exchanges when it is gone."""
        assert follower.process.stdout is not None
        for line in follower.process.stdout:
            reply = _read(line)
            if reply.cause:
                self._break(_error(reply, follower.device))
            else:
                follower.replies.put(reply)
        code = follower.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._break(TeamBroken(f"The process that films along on {follower.device} {how}."))
        follower.replies.put(None)

    def _break(self, fault: Exception) -> None:
        with self._group:
            if self._ending.is_set() or self._broken.is_set():
                return
            self._fault = fault
            self._broken.set()
        self._abort()

    def _abort(self, *, forget: bool = False) -> None:
        """End every exchange that is under way. `forget`: there may be another group after this one."""
        with self._group:
            if dist.is_initialized() and forget:
                dist.distributed_c10d._abort_process_group()
            elif dist.is_initialized():
                dist.distributed_c10d._get_default_group().abort()
            if forget:  # one that was never made, too: groups find each other by their number in a process
                dist.distributed_c10d._world.group_count = 0

    def _replies(self) -> list[Reply]:
        replies = [each.replies.get() for each in self._all]
        self.check()
        return [reply for reply in replies if reply is not None]

    def _write(self, follower: Follower, order: Order) -> None:
        assert follower.process.stdin is not None
        follower.process.stdin.write(order.model_dump_json().encode() + b"\n")
        follower.process.stdin.flush()


def make_group(store: TCPStore, rank: int, size: int, device: torch.device) -> None:
    """Make torch's default group; returns when all are there."""
    backend, on = ("nccl", device) if device.type == "cuda" else ("gloo", None)
    dist.init_process_group(backend, timeout=EXCHANGE_TIMEOUT, world_size=size, rank=rank, store=store, device_id=on)


def _prepared(device: torch.device) -> torch.device:
    """This process's device by its number, with all set that a group reads."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # noqa: TID251
    if device.type != "cuda":
        return device
    torch.cuda.set_device(device)
    return torch.device("cuda", torch.cuda.current_device())


def _store(size: int) -> tuple[TCPStore, int]:
    """Where a group's processes find each other; only this machine's can."""
    door = socket.create_server(("127.0.0.1", 0))
    port = int(door.getsockname()[1])
    listening = door.detach()  # the store's own from here on
    store = TCPStore("127.0.0.1", port, size, is_master=True, wait_for_workers=False, master_listen_fd=listening)
    return store, port


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _read(line: bytes) -> Reply:
    try:
        return Reply.model_validate_json(line)
    except ValueError:
        return Reply(cause="fault", error=f"it said {line[:80]!r}")


def _ended(child: int) -> bool:
    """Whether a child has ended, also where another thread waits for it."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # and is buried
        return True


def _error(reply: Reply, device: torch.device) -> Exception:
    match reply.cause:
        case "memory":
            return torch.OutOfMemoryError(f"{device}: {reply.error}")
        case "user":
            return UserError(reply.error)
        case _:
            return TeamBroken(f"The process that films along on {device} failed: {reply.error}.")
