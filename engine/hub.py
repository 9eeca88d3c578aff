"""Downloads the files of a set from the Hugging Face hub: only what is missing, resumed, and checked by size and hash.

A file grows as .partial/<name> and gets its place only when its SHA-256 is the hub's: what lies in place is whole.
huggingface_hub's own download throws a part away when its process ends, so its http_get is given the part instead.

The set, and why these files: the experts in fp16, because SVI's authors trained for it and advise against quantised
ones, and half the size of the official fp32 ones; ComfyUI's repackaged files where there is a choice, because many
people have them already and safetensors hold no code; Kijai's copy of the SVI Pro LoRAs, which is half the size; the
tokenizer from Wan's own repository.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from huggingface_hub import HfApi, get_token, hf_hub_url
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile

from engine.checkpoints import Part, find_models
from storage.disk import GIB
from storage.schema import UserError

SPARE_BYTES = GIB // 2  # left free on the disk
PARTIAL = ".partial"  # hidden, so that find_models does not look into it


@dataclass(frozen=True)
class HubFile:
    """A file on the hub, and its place in the models folder."""

    part: Part
    repo: str
    path: str
    place: str


_EXPERTS = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
_SVI = "LoRAs/Stable-Video-Infinity/v2.0/SVI_v2_PRO_Wan2.2-I2V-A14B_{}_lora_rank_128_fp16.safetensors"
_LIGHTNING = "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"
_MOE = "Wan2.2_I2V_A14B_HIGH_lightx2v_MoE_distill_lora_rank_64_bf16.safetensors"


def _lightning(part: Part, noise: str) -> HubFile:
    path = f"{_LIGHTNING}/{noise}_noise_model.safetensors"
    return HubFile(part, "lightx2v/Wan2.2-Lightning", path, f"loras/{path}")


SETS: dict[str, tuple[HubFile, ...]] = {
    "svi2pro": (
        *(
            HubFile(part, _EXPERTS, f"split_files/diffusion_models/{name}", f"diffusion_models/{name}")
            for part, name in (
                (Part.HIGH_NOISE, "wan2.2_i2v_high_noise_14B_fp16.safetensors"),
                (Part.LOW_NOISE, "wan2.2_i2v_low_noise_14B_fp16.safetensors"),
            )
        ),
        HubFile(Part.VAE, _EXPERTS, "split_files/vae/wan_2.1_vae.safetensors", "vae/wan_2.1_vae.safetensors"),
        HubFile(
            Part.TEXT_ENCODER,
            "Comfy-Org/Wan_2.1_ComfyUI_repackaged",
            "split_files/text_encoders/umt5_xxl_fp16.safetensors",
            "text_encoders/umt5_xxl_fp16.safetensors",
        ),
        HubFile(
            Part.TOKENIZER,
            "Wan-AI/Wan2.2-I2V-A14B",
            "google/umt5-xxl/tokenizer.json",
            "text_encoders/umt5-xxl/tokenizer.json",
        ),
        *(
            HubFile(part, "Kijai/WanVideo_comfy", _SVI.format(noise), f"loras/{Path(_SVI.format(noise)).name}")
            for part, noise in ((Part.SVI_HIGH, "HIGH"), (Part.SVI_LOW, "LOW"))
        ),
        HubFile(Part.PREVIEW, "Kijai/WanVideo_comfy", "taew2_1.safetensors", "vae_approx/taew2_1.safetensors"),
    ),
    "lightning": (_lightning(Part.LIGHTNING_HIGH, "high"), _lightning(Part.LIGHTNING_LOW, "low")),
    "lightning-2025": (
        HubFile(Part.LIGHTNING_2025_HIGH, "DeepBeepMeep/Wan2.2", f"loras_accelerators/{_MOE}", f"loras/{_MOE}"),
        _lightning(Part.LIGHTNING_LOW, "low"),
    ),
}


@dataclass(frozen=True)
class Download:
    """How far a download is. Bytes count over all files of the set that were missing."""

    file: str
    checking: bool  # the file is here and its hash is being computed
    done_bytes: int
    total_bytes: int


OnDownload = Callable[[Download], None]


def get(name: str, models_dir: Path, on_progress: OnDownload, endpoint: str | None = None) -> list[Path]:
    """Download what `find_models` misses of a set; returns the new files.

    endpoint: the hub's address; None takes huggingface_hub's, which HF_ENDPOINT changes. Whatever ends a download, the
    next call goes on where it ended.
    """
    if name not in SETS:
        raise UserError(f"There is no set called {name}; there are {', '.join(SETS)}.")
    found = find_models(models_dir).pieces
    remotes = [_describe(file, endpoint) for file in SETS[name] if file.part not in found]
    places = {remote: models_dir / remote.file.place for remote in remotes}
    growing = {remote: models_dir / PARTIAL / remote.file.place for remote in remotes}
    for remote, place in places.items():
        if place.exists():
            raise UserError(
                f"{place} is in the way: it cannot be used as the {remote.file.part}, so move it away first."
            )
    _check_space(models_dir, sum(remote.size - _bytes_of(growing[remote], remote) for remote in remotes))
    tally = _Tally(on_progress, sum(remote.size for remote in remotes))
    for remote, place in places.items():
        _download(remote, growing[remote], endpoint, partial(tally.report, remote))
        tally.report(remote, remote.size, checking=True)
        _verify(remote, growing[remote])
        place.parent.mkdir(parents=True, exist_ok=True)
        growing[remote].replace(place)
        tally.before += remote.size
    shutil.rmtree(models_dir / PARTIAL, ignore_errors=True)
    return list(places.values())


# ---- one file --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Remote:
    """What the hub says of a file. digest: its SHA-256, or git's SHA-1 of a file that is small enough for git."""

    file: HubFile
    size: int
    digest: str
    in_git: bool


@dataclass
class _Tally:
    """Counts bytes over all files."""

    on_progress: OnDownload
    total: int
    before: int = 0  # of the files that are in their places

    def report(self, remote: _Remote, count: int, *, checking: bool = False) -> None:
        self.on_progress(Download(remote.file.place, checking, self.before + count, self.total))


class _Bar:
    """What http_get believes to be a progress bar."""

    def __init__(self, on_bytes: Callable[[int], None], *, initial: int, **_: object) -> None:
        self._on_bytes = on_bytes
        self._count = initial

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Nothing to close."""

    def update(self, count: int) -> None:
        """So many bytes more; fewer when the server began anew."""
        self._count += count
        self._on_bytes(self._count)


def _describe(file: HubFile, endpoint: str | None) -> _Remote:
    """Size and hash of a file, as the hub has them."""
    try:
        entries = HfApi(endpoint=endpoint).get_paths_info(file.repo, [file.path])
    except GatedRepoError as error:
        raise UserError(
            f"The hub gives {file.repo} only to those who accepted its terms: log in with hf auth login."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(f"The hub has no repository {file.repo}, or it is private.") from error
    except (httpx2.HTTPError, OSError) as error:
        raise _unreachable(file, error) from error
    for entry in entries:
        if isinstance(entry, RepoFile) and entry.path == file.path:
            if entry.lfs is None:
                return _Remote(file, entry.size, entry.blob_id, in_git=True)
            return _Remote(file, entry.lfs.size, entry.lfs.sha256, in_git=False)
    raise UserError(f"The {file.part} cannot be downloaded: the repository {file.repo} has no {file.path}.")


def _download(remote: _Remote, path: Path, endpoint: str | None, on_bytes: Callable[[int], None]) -> None:
    """Let the file at `path` grow to its whole size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > remote.size:
        path.unlink()
    bar: Any = partial(_Bar, on_bytes)
    url = hf_hub_url(remote.file.repo, remote.file.path, endpoint=endpoint)
    headers = {"Accept-Encoding": "identity"}  # with gzip, what arrives would not count as what the hub has
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    with path.open("ab") as growing:
        have = growing.tell()
        on_bytes(have)
        try:
            http_get(url, growing, resume_size=have, headers=headers, expected_size=remote.size, tqdm_class=bar)
        except (httpx2.HTTPError, OSError) as error:
            raise _unreachable(remote.file, error) from error


def _verify(remote: _Remote, path: Path) -> None:
    """UserError, and no file, unless its hash is the hub's."""
    digest = hashlib.sha1(f"blob {remote.size}\0".encode()) if remote.in_git else hashlib.sha256()
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
    if path.stat().st_size != remote.size or digest.hexdigest() != remote.digest:
        path.unlink()
        raise UserError(
            f"{remote.file.repo}/{remote.file.path} arrived damaged: its hash begins with {digest.hexdigest()[:12]}, "
            f"the hub's with {remote.digest[:12]}; it was thrown away, so start the download again."
        )


def _check_space(models_dir: Path, needed: int) -> None:
    there = next(folder for folder in (models_dir.absolute(), *models_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed + SPARE_BYTES > free and needed:
        raise UserError(
            f"The download needs {needed / GIB:.1f} GiB on the disk of {models_dir}, and {free / GIB:.1f} GiB are free."
        )


def _bytes_of(path: Path, remote: _Remote) -> int:
    """How much of a file came before."""
    return min(path.stat().st_size, remote.size) if path.exists() else 0


def _unreachable(file: HubFile, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return UserError(
        f"The {file.part} cannot be downloaded from {file.repo} now: {reason}. What came is kept for the next try."
    )
