"""The work folder of one render: what it reads, and every finished window, so that a crash costs only what it is at.

plan.json               the plan that this folder belongs to
media/<id>              files that the plan names
window-003.mp4          a finished window's frames
window-003.safetensors  its handover; written last, so a window with a handover is complete
film.mp4                the windows joined
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from storage.disk import whole
from storage.renders import segment_name
from storage.schema import MediaId, Plan


@dataclass(frozen=True)
class Handover:
    """What a window hands to the next one. Both latents are [B, 16, 1, h, w]; no tail before the first window."""

    anchor: Tensor
    tail: Tensor | None

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Handover":
        """Read a handover that `save` wrote."""
        latents = load_file(path, device=str(device))
        return cls(latents["anchor"][None], latents["tail"][None])

    def on_host(self) -> "Handover":
        """The same in the host's memory, where no work of a GPU stands before it."""
        return Handover(self.anchor.cpu(), None if self.tail is None else self.tail.cpu())

    def save(self, path: Path) -> None:
        """Write both latents in float32, unbatched: the file is whole or not there. DiskFull without room."""
        assert self.tail is not None, "only a filmed window has a tail"
        latents = {"anchor": self.anchor, "tail": self.tail}
        with whole(path) as partial:
            partial.write_bytes(save({name: latent[0].float().cpu().contiguous() for name, latent in latents.items()}))


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
