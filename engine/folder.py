"""The work folder of one render: what it reads, and every finished window, so that a crash costs only what it is at.

plan.json               the plan that this folder belongs to
media/<id>              files that the plan names
window-003.jpg          what the window under way looks like so far; for whoever watches, and read by nobody else
window-003.mp4          a finished window's frames, as the film's finish leaves them
window-003.safetensors  its handover; written last, so a window with a handover is complete
film.mp4                the windows joined
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from engine.condition import eve_of, tail_of
from storage.disk import whole
from storage.footage import Frames
from storage.renders import preview_name, segment_name
from storage.schema import Measured, MediaId, Plan

MEASURED = TypeAdapter(tuple[Measured, ...])


@dataclass(frozen=True)
class Handover:
    """The latents that a window hands to the next one. Anchor and tail are [B, 16, 1, h, w].

    Before the first window there is no tail. `eve` are the latent frames before the tail, [B, 16, 2, h, w], which only
    the decoder looks at.
    """

    anchor: Tensor
    tail: Tensor | None = None
    eve: Tensor | None = None

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Handover":
        """Read a handover that `save` wrote; one of an older Longtake has no eve."""
        with safe_open(path, "pt", device=str(device)) as file:
            eve = file.get_tensor("eve")[None] if "eve" in file.keys() else None  # noqa: SIM118
            return cls(file.get_tensor("anchor")[None], file.get_tensor("tail")[None], eve)

    def after(self, latents: Tensor) -> "Handover":
        """What a window hands on that was handed this. latents: [B, 16, T, h, w]"""
        return Handover(self.anchor, tail_of(latents), eve_of(latents))

    def on_host(self) -> "Handover":
        """The same in the host's memory, where no work of a GPU stands before it."""
        tail, eve = (None if latents is None else latents.cpu() for latents in (self.tail, self.eve))
        return replace(self, anchor=self.anchor.cpu(), tail=tail, eve=eve)

    def save(self, path: Path, shown: "Shown") -> None:
        """Write the latents in float32, unbatched, and beside them what the film shows: the file is whole or not there.

        DiskFull without room.
        """
        assert self.tail is not None, "only a filmed window has a tail"
        latents = {"anchor": self.anchor, "tail": self.tail} | ({} if self.eve is None else {"eve": self.eve})
        tensors = {name: latent[0].float().cpu().contiguous() for name, latent in latents.items()}
        if shown.frames is not None:
            tensors["shown"] = torch.tensor(shown.frames)
        with whole(path) as partial:
            partial.write_bytes(save(tensors, {"measured": MEASURED.dump_json(shown.measured).decode()}))


@dataclass(frozen=True)
class Shown:
    """What a film shows so far: its last frames [F, H, W, 3], before they are finished, and its windows as measured."""

    frames: Frames | None = None
    measured: tuple[Measured, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Shown":
        """Read it from beside a handover; that of an older Longtake has no frames and no measures."""
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("measured", "[]")
            frames = file.get_tensor("shown").numpy() if "shown" in file.keys() else None  # noqa: SIM118
        return cls(frames, MEASURED.validate_json(told))


def belongs_to(root: Path, plan: Plan) -> bool:
    """Whether a folder is free for a plan: its own, or nobody's."""
    claim = root / "plan.json"
    return not claim.exists() or claim.read_text() == plan.model_dump_json()


class WorkFolder:
    """Names and keeps the files of one render."""

    def __init__(self, root: Path, plan: Plan) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.windows = len(plan.windows)
        if not belongs_to(root, plan):
            raise ValueError(f"{root} holds the windows of another plan")
        claim = root / "plan.json"
        if not claim.exists():
            with whole(claim) as partial:
                partial.write_text(plan.model_dump_json())

    @property
    def film(self) -> Path:
        """The joined video."""
        return self.root / "film.mp4"

    @property
    def head(self) -> Path:
        """The video that is continued, when it has to be encoded anew."""
        return self.root / "head.mp4"

    def tail(self, number: int) -> Path:
        """What the finished window `number` hands on, as a file."""
        return self._handover(number)

    def media(self, media: MediaId) -> Path:
        """A file that the plan names."""
        return self.root / "media" / media

    def segment(self, number: int) -> Path:
        """The frames of window `number` of the plan, from 1."""
        return self.root / segment_name(number)

    def preview(self, number: int) -> Path:
        """What window `number` of the plan looks like while it is denoised, as a JPEG."""
        return self.root / preview_name(number)

    @property
    def finished(self) -> list[int]:
        """The windows of the plan that are whole, from 1."""
        return [number for number in range(1, self.windows + 1) if self.has(number)]

    def has(self, number: int) -> bool:
        """Whether window `number` was finished, by this render or by one that was killed."""
        return self._handover(number).exists()

    def handover(self, number: int, device: torch.device) -> Handover:
        """What the finished window `number` hands on."""
        return Handover.load(self._handover(number), device)

    def shown(self, number: int) -> Shown:
        """What the film shows up to the finished window `number`."""
        return Shown.load(self._handover(number))

    def finish(self, number: int, handover: Handover, shown: Shown) -> None:
        """Mark window `number`, whose segment is written, as finished."""
        handover.save(self._handover(number), shown)

    def _handover(self, number: int) -> Path:
        return self.root / f"window-{number:03}.safetensors"
