"""Where a render keeps its windows while it lasts. The engine writes them; a face may look at the finished ones, and at
pictures of the one under way."""

from pathlib import Path


def render_folder(renders: Path, job: int) -> Path:
    """The work folder of a job; it is removed when the job is settled."""
    return renders / str(job)


def segment_name(window: int) -> str:
    """The file of a finished window of a plan, counted from 1."""
    return f"window-{window:03}.mp4"


def preview_name(window: int) -> str:
    """The picture of what a window of a plan, counted from 1, looks like so far, while it is denoised."""
    return f"window-{window:03}.jpg"


def segment_file(renders: Path, job: int, window: int) -> Path:
    """A finished window of a job, while the render lasts."""
    return render_folder(renders, job) / segment_name(window)


def preview_file(renders: Path, job: int, window: int) -> Path:
    """The picture of a window of a job that is being denoised. It is replaced as a whole, so that it can be read at any
    moment; it is not there before the first one, and may stay when the window is finished."""
    return render_folder(renders, job) / preview_name(window)
