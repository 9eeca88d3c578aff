"""Where a job is, in one line, for every face."""

from storage.schema import Job, JobState, Stage

STAGES = {
    Stage.LOADING: "loading the model",
    Stage.RESTORING: "of what is continued: its video was removed, so it is filmed again first",
    Stage.DENOISING: "step {step} of {steps}",
    Stage.DECODING: "decoding",
    Stage.FILMED: "filmed",
    Stage.JOINING: "joining",
}


def progress_text(job: Job, place: int | None) -> str:
    """One line on where a job is. `place` is its place in the queue."""
    again = f" again: {job.error}" if job.error else ""
    if job.state is JobState.QUEUED:
        return f"queued{again}" + (f", number {place}" if place else "")
    progress = job.progress
    if job.state is not JobState.RUNNING or progress is None:
        return str(job.state)
    stage = STAGES[progress.stage].format(step=progress.step, steps=progress.steps)
    left = "" if progress.seconds_left is None else f", {clock(progress.seconds_left)} left"
    return f"window {progress.window} of {progress.windows}, {stage}{left}" + (f",{again}" if again else "")


def clock(seconds: float) -> str:
    """Minutes and seconds: 65 is 1:05."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"
