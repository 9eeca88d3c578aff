"""Plan -> video: networks, sampling, windows, video files and the worker."""

import os

# Before torch is imported: OpenMP's threads sleep while they wait. Threads that spin are a tenth faster on idle cores,
# and three times slower where other programs want the same cores, as on most servers.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # noqa: TID251
