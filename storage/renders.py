"""Where a render keeps its windows while it lasts. The engine writes them; a face may look at the finished ones."""

from pathlib import Path


def render_folder(renders: Path, job: int) -> Path:
    """The work folder of a job; it is removed when the job is settled."""
    return renders / str(job)


def segment_name(window: int) -> str:
    """The file of a finished window of a plan, counted from 1."""
    return f"window-{window:03}.mp4"


def segment_file(renders: Path, job: int, window: int) -> Path:
    """A finished window of a job, while the render lasts."""
    return render_folder(renders, job) / segment_name(window)
