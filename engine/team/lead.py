"""The leader's end of a team: it has the texts, the VAE and the sampler, and asks the others for what is shared.

A follower is asked for one evaluation after the other, each with its latents. So it needs to know nothing of noise,
sampler, guide or refiner, cannot be at another step than the leader, and when the leader stops between two steps there
is nothing to tell: it waits for the next order. What fails within an evaluation ends the followers; the next film
starts new ones.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from engine.memory import Tier
from engine.settings import EngineSettings
from engine.team.followers import FOLLOW, Followers, TeamBroken
from engine.team.orders import Begin, Load, Measure, Predict, Settle, Sheet
from engine.team.team import Team, Way
from engine.velocity import Scene
from storage.schema import Plan, Sampling

log = logging.getLogger("longtake.lead")


class Lead:
    """Leads one follower on each of the `others`; they are started when a film needs them."""

    def __init__(
        self,
        settings: EngineSettings,
        device: torch.device,
        others: Sequence[torch.device],
        command: Sequence[str] = FOLLOW,
    ) -> None:
        self._settings = settings
        self._device = device
        self._others = tuple(others)
        self._command = command
        self._followers: Followers | None = None
        self._said: set[str] = set()

    @property
    def team(self) -> Team:
        """The team as the leader sees it."""
        return Team(0, 1 + len(self._others))

    def available(self) -> int | None:
        """Bytes for networks on the tightest of the others' devices; None if nothing limits them."""
        with self._guarded(start=True) as followers:
            told = [reply.available for reply in followers.ask(Measure())]
        return min((room for room in told if room is not None), default=None)

    @contextmanager
    def loading(self, plan: Plan, tier: Tier) -> Iterator[None]:
        """Others load the experts of a plan while the block runs; behind it all of them have."""
        with self._guarded(start=True) as followers:
            followers.tell(Load(plan=plan, tier=tier))
            yield
            followers.answers()

    def begin(self, scene: Scene, sampling: Sampling, first_step: int) -> None:
        """A window begins."""
        tensors = scene.given, scene.positive, scene.negative, scene.bias
        with self._guarded() as followers:
            sheets = tuple(None if tensor is None else Sheet.of(tensor) for tensor in tensors)
            followers.tell(Begin(sampling=sampling, first_step=first_step, scene=sheets))
            for tensor in tensors:
                if tensor is not None:
                    self.team.from_leader(tensor)

    @contextmanager
    def predicting(self, step: int, sigma: float, way: Way, latents: Tensor) -> Iterator[None]:
        """In the block all evaluate at these latents, [B, 16, T, h, w]."""
        with self._guarded() as followers:
            followers.check()
            followers.tell(Predict(step=step, sigma=sigma, way=way))
            self.team.from_leader(latents)
            yield

    def settle(self) -> None:
        """A window ends: everybody's part in it has come. On a GPU, who is missed is found out late."""
        with self._guarded() as followers:
            followers.tell(Settle())
            ranks = self.team.each(torch.full((1,), 1.0, device=self._device))
            here = int(torch.cat(ranks).sum())  # waits for the GPU
            followers.check()
            if here != self.team.size:
                raise TeamBroken("A process that films along does not answer.")

    def say_once(self, text: str) -> None:
        """Log a line, unless it was logged before."""
        if text not in self._said:
            self._said.add(text)
            log.info(text)

    def close(self) -> None:
        """End the followers."""
        if self._followers is not None:
            self._followers.end()
        self._followers = None

    @contextmanager
    def _guarded(self, *, start: bool = False) -> Iterator[Followers]:
        """Whatever goes wrong in the block, its followers may wait for what never comes: they end.

        What is raised is the follower's error where one is to blame.
        """
        followers = self._started() if start else self._followers
        if followers is None:
            raise TeamBroken("The processes that film along have ended.")
        try:
            yield followers
        except BaseException as error:
            self._followers = None
            fault = followers.end(error)
            if fault is error:
                raise
            raise fault from None  # the other's traceback holds tensors

    def _started(self) -> Followers:
        if self._followers is not None and self._followers.broken:
            log.warning("a process that films along ended between two films")
            self.close()
        if self._followers is None:
            self._followers = Followers(self._settings, self._device, self._others, self._command)
            log.info("films on %s", ", ".join(map(str, (self._device, *self._others))))
        return self._followers
