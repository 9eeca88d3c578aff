"""What a face hands over, and the checks of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.schema import Policy, Seed, Size, UserError
from storage.sizes import GRID, LONGEST_ASPECT

SHORTEST_SIDE, LONGEST_SIDE = 64, 1920  # pixels that a person may ask for


@dataclass(frozen=True)
class Wish:
    """What a face hands over: words, files that are still outside, and numbers that nobody has checked."""

    text: str
    channel: str
    requester: str
    images: Sequence[Path] = ()
    anchors: Sequence[Path] = ()  # pictures for one window after the other
    black: bool = False  # start from a black picture
    video: Path | None = None
    guide: Path | None = None  # a video that the film follows
    guide_mask: Path | None = None  # white where it may change
    keep_frames: int | None = None
    seconds: float | None = None
    size: tuple[int, int] | None = None
    seed: int | None = None
    preset: str | None = None  # a way to film; None is the studio's own
    settings: Sequence[str] = ()  # NAME=VALUE, see planner/parameters.py
    timing: str | None = None  # None: as the film that is continued, or as text
    loras: Sequence[str] = ()  # of the library: NAME, NAME:STRENGTH, or "none"
    take: int | None = None  # the take that is answered; None is the channel's last one
    message: str | None = None
    policy: Policy | None = None  # what holds where the wish was made; None has no limits but the studio's
    age_restricted: bool = False  # made where only adults are

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is handed in."""
        videos = (self.video, self.guide, self.guide_mask)
        return (*self.images, *self.anchors, *(path for path in videos if path is not None))


def require_place(wish: Wish, restricted: bool) -> None:
    """UserError for what belongs into age-restricted channels and was asked elsewhere, unless spoilers are allowed."""
    if restricted and wish.policy and wish.policy.restricted == "refuse" and not wish.age_restricted:
        raise UserError(
            "This channel isn't age-restricted, so I can't film that here. Ask in one that is, or leave that part out."
        )


def checked_seed(seed: int) -> Seed:
    """A seed that the plan can hold."""
    if not 0 <= seed < 2**63:
        raise UserError(f"A seed is a number from 0 to {2**63 - 1}, not {seed}.")
    return seed


def checked_keep_frames(wish: Wish) -> int | None:
    """How many frames of a video are kept, if there is a video."""
    if wish.keep_frames is not None and wish.video is None:
        raise UserError("Frames can be kept of a video file only: name one.")
    if wish.keep_frames == 0:
        raise UserError("To keep 0 frames leaves nothing to continue: leave it out to keep all.")
    return wish.keep_frames


def checked_guide(wish: Wish) -> None:
    """A mask without a video to follow masks nothing."""
    if wish.guide_mask is not None and wish.guide is None:
        raise UserError("A mask says where a film may leave the video that it follows: give that with --guide.")


def checked_size(size: tuple[int, int] | None) -> tuple[Size | None, tuple[str, ...]]:
    """The nearest size that the network can film, and a note if that is another one."""
    if size is None:
        return None, ()
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in size):
        raise UserError(
            f"A size of {size[0]}x{size[1]} cannot be filmed: each side has {SHORTEST_SIDE} to {LONGEST_SIDE} pixels."
        )
    if max(size) > LONGEST_ASPECT * min(size):
        raise UserError(f"A size of {size[0]}x{size[1]} is too narrow to film: at most {LONGEST_ASPECT} : 1, please.")
    width, height = (round(side / GRID) * GRID for side in size)
    fits = Size(width=width, height=height)
    if (width, height) == size:
        return fits, ()
    return fits, (f"Size: {fits}, the nearest to {size[0]}x{size[1]} in multiples of {GRID}.",)
