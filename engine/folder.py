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

from storage.disk import whole
from storage.footage import Frames
from storage.renders import preview_name, segment_name
from storage.schema import Measured, MediaId, Plan

MEASURED = TypeAdapter(tuple[Measured, ...])


@dataclass(frozen=True)
class Handover:
    """What a window hands to the next one. Anchor and tail are [B, 16, 1, h, w]; no tail before the first window.

    `eve` are the latent frames before the tail, [B, 16, 2, h, w], which only the decoder looks at; `shown` are the last
    frames that the film shows so far, [F, H, W, 3], before it is finished; `measured` are the windows so far.
    """

    anchor: Tensor
    tail: Tensor | None = None
    shown: Frames | None = None
    measured: tuple[Measured, ...] = ()
    eve: Tensor | None = None

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Handover":
        """Read a handover that `save` wrote; one of an older Longtake has no frames, measures, or eve."""
        with safe_open(path, "pt", device=str(device)) as file:
            told = (file.metadata() or {}).get("measured", "[]")
            latents = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shown = latents["shown"].cpu().numpy() if "shown" in latents else None
        eve = latents["eve"][None] if "eve" in latents else None
        return cls(latents["anchor"][None], latents["tail"][None], shown, MEASURED.validate_json(told), eve)

    def on_host(self) -> "Handover":
        """The same in the host's memory, where no work of a GPU stands before it."""
        tail, eve = (None if latents is None else latents.cpu() for latents in (self.tail, self.eve))
        return replace(self, anchor=self.anchor.cpu(), tail=tail, eve=eve)

    def save(self, path: Path) -> None:
        """Write the latents in float32, unbatched, and the rest as it is: the file is whole or not there.

        DiskFull without room.
        """
        assert self.tail is not None, "only a filmed window has a tail"
        latents = {"anchor": self.anchor, "tail": self.tail} | ({} if self.eve is None else {"eve": self.eve})
        tensors = {name: latent[0].float().cpu().contiguous() for name, latent in latents.items()}
        if self.shown is not None:
            tensors["shown"] = torch.tensor(self.shown)
        with whole(path) as partial:
            partial.write_bytes(save(tensors, {"measured": MEASURED.dump_json(self.measured).decode()}))


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

    def finish(self, number: int, handover: Handover) -> None:
        """Mark window `number`, whose segment is written, as finished."""
        handover.save(self._handover(number))

    def _handover(self, number: int) -> Path:
        return self.root / f"window-{number:03}.safetensors"
