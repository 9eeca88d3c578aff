"""Window arithmetic: frames, windows and seconds of a film, computed in one place.

A window is 81 frames = 21 latent frames. Window 1 shows all 81; each later window renders 5 frames that the
window before already showed (1 anchor + 4 overlap), drops them, and shows 76. Windows are counted from 1.

A plan may discard the last `discarded` frames of every window, a multiple of 4: then window 1 shows 81 - d, each later
one 76 - d, and each begins that much sooner after the one before. All windows of a film discard as many.
"""

import math

FPS = 16
WINDOW_FRAMES = 81
OVERLAP_FRAMES = 4  # the end of the window before, as the next one repeats it
DROPPED_FRAMES = 1 + OVERLAP_FRAMES  # the anchor and the overlap, at the start of every window but the first
NEW_FRAMES = WINDOW_FRAMES - DROPPED_FRAMES
WINDOW_SECONDS = WINDOW_FRAMES / FPS  # 5.0625


def latent_frames(frames: int) -> int:
    """Latent frames of `frames` pixel frames: the first frame alone, then four at a time."""
    if frames < 1 or (frames - 1) % 4:
        raise ValueError(f"frames must be 4n + 1, got {frames}")
    return (frames - 1) // 4 + 1


def stride_seconds(discarded: int = 0) -> float:
    """What a window adds to a film, and from the start of one window to the start of the next: 4.75 s less the end."""
    return (NEW_FRAMES - discarded) / FPS


def window_begin(window: int, discarded: int = 0) -> int:
    """The frame of the film, from 0, with which a window begins, what it repeats of the one before included."""
    return (NEW_FRAMES - discarded) * (window - 1)


def window_seconds(discarded: int = 0) -> float:
    """Seconds of a window's own clock until which it is shown: 5.0625 less the end."""
    return (WINDOW_FRAMES - discarded) / FPS


def film_frames(windows: int, discarded: int = 0) -> int:
    """Frames of a film of `windows` windows: 81 - d + (76 - d) (n - 1)."""
    return DROPPED_FRAMES + (NEW_FRAMES - discarded) * windows


def finished_frames(frames: int, interpolation: int) -> int:
    """Frames in the file of a film of `frames` frames, with those that an interpolation puts between them."""
    return (frames - 1) * interpolation + 1


def film_frames_in(finished: int, interpolation: int) -> int:
    """Frames of a film, 16 a second, whose file has `finished` frames.

    >>> film_frames_in(finished_frames(157, 2), 2)
    157
    """
    return (finished - 1) // interpolation + 1


def film_seconds(windows: int, discarded: int = 0) -> float:
    """Seconds of a film of `windows` windows."""
    return film_frames(windows, discarded) / FPS


def windows_for(seconds: float, discarded: int = 0) -> int:
    """The fewest windows that show `seconds`, short of it by at most 5 % or half a second.

    A film is whole windows, so that it can be continued; 15 s is 3 windows (14.56 s), not 4 (19.31 s).
    """
    enough = seconds - max(0.5, 0.05 * seconds)
    return max(1, math.ceil((enough * FPS - DROPPED_FRAMES) / (NEW_FRAMES - discarded)))


def continuation_windows_for(seconds: float, discarded: int = 0) -> int:
    """The same for a continuation, whose every window shows 76 - d new frames."""
    enough = seconds - max(0.5, 0.05 * seconds)
    return max(1, math.ceil(enough * FPS / (NEW_FRAMES - discarded)))


def window_at(film_time: float, discarded: int = 0) -> tuple[int, float]:
    """Where `film_time` (seconds of the film) is shown: (window, seconds of that window).

    A later window begins to be shown at its 0.3125 s, so a time in the first 0.3125 s of its clock belongs to the
    window before: t_film = t_window + 4.75 (k - 1), or less of a stride where ends are discarded.
    """
    window = max(1, 1 + math.floor((film_time * FPS - DROPPED_FRAMES) / (NEW_FRAMES - discarded)))
    return window, film_time - stride_seconds(discarded) * (window - 1)


def film_time(window: int, seconds: float, discarded: int = 0) -> float:
    """Seconds of the film at which `seconds` of window `window` is shown."""
    return seconds + stride_seconds(discarded) * (window - 1)


def shown_seconds(window: int, discarded: int = 0) -> tuple[float, float]:
    """Seconds of the film from which and until which window `window` is shown."""
    dropped = 0 if window == 1 else DROPPED_FRAMES
    return film_time(window, dropped / FPS, discarded), film_time(window, window_seconds(discarded), discarded)
