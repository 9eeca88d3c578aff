"""Plan -> video: networks, sampling, windows, video files and the worker."""

import os

# Before torch is imported: OpenMP's threads sleep while they wait. Spinning ones are a tenth faster on idle cores, and
# three times slower where other programs want the same cores, which is what a server of people has.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # noqa: TID251
