"""Plan -> video: networks, sampling, windows, video files and the worker."""
