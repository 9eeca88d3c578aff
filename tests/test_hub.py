"""Downloads from a stand-in hub on this machine: the set arrives, broken downloads go on, damage is refused."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import torch
from checkpoint_files import dit_weights, text_weights, vae_weights
from safetensors.torch import save

from engine.checkpoints import Part, find_models, load_dit
from engine.dit import DiTConfig
from engine.hub import PARTIAL, SETS, Download, HubFile, get
from engine.text import from_official
from storage.schema import UserError

CHUNK = 10 * 2**20  # huggingface_hub writes to the disk in pieces of this size
ROOT = Path(__file__).parents[1]


@dataclass
class StandIn:
    """A hub with files. `cut_at` ends the next answer after so many bytes; `claimed` lies about sizes and hashes."""

    files: dict[tuple[str, str], bytes]
    endpoint: str = ""
    claimed: dict[str, dict[str, object]] = field(default_factory=dict)
    cut_at: int | None = None
    ignores_ranges: bool = False
    status: int = 200
    sent: list[tuple[str, int]] = field(default_factory=list)  # file and first byte of every answer

    def describe(self, repo: str, path: str) -> dict[str, object] | None:
        content = self.files.get((repo, path))
        if content is None:
            return None
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content)}
        entry["oid"] = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        if not path.endswith(".json"):  # git keeps small files of text itself
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 135} | self.claimed.get(path, {})
        return entry


class Handler(BaseHTTPRequestHandler):
    hub: StandIn

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        match = re.fullmatch(r"/api/models/(.+)/paths-info/main", self.path)
        assert match
        if not any(repo == match[1] for repo, _ in self.hub.files):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        entries = [entry for path in body["paths"] if (entry := self.hub.describe(match[1], path))]
        answer = json.dumps(entries).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", self.path)
        assert match
        content = self.hub.files[match[1], match[2]]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start and not self.hub.ignores_ranges else 0
        self.hub.sent.append((match[2], first))
        if self.hub.status != 200:
            self.send_response(self.hub.status)
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        cut, self.hub.cut_at = self.hub.cut_at, None
        self.wfile.write(content[first:cut])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def tokenizer() -> bytes:
    vocabulary = [["<pad>", 0.0], ["</s>", 0.0], *([f"w{number}", 0.0] for number in range(20))]
    return json.dumps({"model": {"type": "Unigram", "vocab": vocabulary}, "added_tokens": []}).encode()


@pytest.fixture(scope="module")
def contents() -> dict[Part, bytes]:
    """The high-noise expert is larger than a piece; the others are as small as can be."""
    large = dit_weights(DiTConfig(dim=512, ffn_dim=512, freq_dim=16, heads=4, layers=2, text_dim=8))
    small = dit_weights(DiTConfig(dim=128, ffn_dim=32, freq_dim=16, heads=1, layers=2, text_dim=8))
    lora = save({"blocks.0.self_attn.q.lora_A.default.weight": torch.zeros(1, 128)})
    held = {
        Part.HIGH_NOISE: save(large),
        Part.LOW_NOISE: save(small),
        Part.VAE: save(vae_weights()),
        Part.TEXT_ENCODER: save(from_official(text_weights())),
        Part.TOKENIZER: tokenizer(),
        Part.PREVIEW: save({"decoder.1.weight": torch.zeros(1)}),
    }
    assert len(held[Part.HIGH_NOISE]) > 2 * CHUNK
    return held | {part: lora for part in Part if "LoRA" in part}


@pytest.fixture
def hub(contents: dict[Part, bytes]) -> Iterator[StandIn]:
    stand_in = StandIn({(f.repo, f.path): contents[f.part] for files in SETS.values() for f in files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": stand_in}))
    stand_in.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield stand_in
    server.shutdown()
    server.server_close()
    thread.join()


def file_of(part: Part) -> HubFile:
    return next(file for file in SETS["svi2pro"] if file.part is part)


def silent(_: Download) -> None:
    """Nobody watches."""


def test_whole_set_arrives_and_nothing_comes_twice(hub, contents, tmp_path):
    seen: list[Download] = []
    got = get("svi2pro", tmp_path, seen.append, hub.endpoint)
    assert got == [tmp_path / file.place for file in SETS["svi2pro"]]
    assert [path.read_bytes() for path in got] == [contents[file.part] for file in SETS["svi2pro"]]
    found = find_models(tmp_path)
    assert (found.missing, found.unusable) == ((), ())
    assert load_dit(found.path(Part.HIGH_NOISE)).config.dim == 512
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({Path(f.place).parts[0] for f in SETS["svi2pro"]})

    counts = [progress.done_bytes for progress in seen]
    total = sum(len(contents[file.part]) for file in SETS["svi2pro"])
    assert counts == sorted(counts)
    assert counts[-1] == total
    assert {progress.total_bytes for progress in seen} == {total}
    assert [p.file for p in seen if p.checking] == [file.place for file in SETS["svi2pro"]]

    hub.sent.clear()
    assert get("svi2pro", tmp_path, silent, hub.endpoint) == []
    assert not hub.sent


def test_only_what_is_missing_is_downloaded(hub, contents, tmp_path):
    """A part that is there under any name is kept."""
    (tmp_path / "mine.safetensors").write_bytes(contents[Part.VAE])
    got = get("svi2pro", tmp_path, silent, hub.endpoint)
    assert tmp_path / file_of(Part.VAE).place not in got
    assert len(got) == len(SETS["svi2pro"]) - 1
    assert find_models(tmp_path).path(Part.VAE) == tmp_path / "mine.safetensors"


def test_the_lightning_loras_are_sets_of_their_own(hub, tmp_path):
    get("lightning", tmp_path, silent, hub.endpoint)
    assert set(find_models(tmp_path).pieces) == {Part.LIGHTNING_HIGH, Part.LIGHTNING_LOW}
    (new,) = get("lightning-2025", tmp_path, silent, hub.endpoint)
    assert find_models(tmp_path).path(Part.LIGHTNING_2025_HIGH) == new
    assert find_models(tmp_path).path(Part.LIGHTNING_HIGH).name == "high_noise_model.safetensors"


def test_download_that_was_interrupted_goes_on(hub, contents, tmp_path):
    def interrupt(progress: Download) -> None:
        if progress.done_bytes >= 2 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get("svi2pro", tmp_path, interrupt, hub.endpoint)
    file = file_of(Part.HIGH_NOISE)
    assert not (tmp_path / file.place).exists()
    assert (tmp_path / PARTIAL / file.place).stat().st_size == CHUNK
    assert find_models(tmp_path).missing  # the part is not taken for the whole

    seen: list[Download] = []
    get("svi2pro", tmp_path, seen.append, hub.endpoint)
    assert [first for path, first in hub.sent if path == file.path] == [0, CHUNK]
    assert (tmp_path / file.place).read_bytes() == contents[Part.HIGH_NOISE]
    assert seen[0].done_bytes == CHUNK


def test_connection_that_breaks_is_taken_up_again(hub, contents, tmp_path):
    hub.cut_at = CHUNK + 5000
    get("svi2pro", tmp_path, silent, hub.endpoint)
    file = file_of(Part.HIGH_NOISE)
    first, second = (first for path, first in hub.sent if path == file.path)
    assert first == 0
    assert second >= CHUNK
    assert (tmp_path / file.place).read_bytes() == contents[Part.HIGH_NOISE]


def test_hub_that_knows_no_ranges_sends_the_file_anew(hub, contents, tmp_path):
    file = file_of(Part.HIGH_NOISE)
    part = tmp_path / PARTIAL / file.place
    part.parent.mkdir(parents=True)
    part.write_bytes(contents[Part.HIGH_NOISE][:CHUNK])
    hub.ignores_ranges = True
    get("svi2pro", tmp_path, silent, hub.endpoint)
    assert (tmp_path / file.place).read_bytes() == contents[Part.HIGH_NOISE]


@pytest.mark.parametrize("begun", ["damaged", "too long"])
def test_wrong_hash_is_refused_and_the_next_try_starts_anew(hub, contents, tmp_path, begun):
    file = file_of(Part.LOW_NOISE)
    whole = contents[Part.LOW_NOISE]
    part = tmp_path / PARTIAL / file.place
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000) if begun == "damaged" else whole + b"more")
    if begun == "damaged":
        with pytest.raises(
            UserError, match=rf"{file.repo}/{file.path} arrived damaged: its hash begins with .* again\."
        ):
            get("svi2pro", tmp_path, silent, hub.endpoint)
        assert not part.exists()
        assert not (tmp_path / file.place).exists()
    get("svi2pro", tmp_path, silent, hub.endpoint)
    assert (tmp_path / file.place).read_bytes() == whole


@pytest.mark.parametrize("part", [Part.VAE, Part.TOKENIZER])
def test_content_that_is_not_the_hubs_is_refused(hub, tmp_path, part):
    """Of the right size, with one bit turned on the way; large files are known by SHA-256, small ones by git's."""
    file = file_of(part)
    whole = hub.files[file.repo, file.path]
    described = hub.describe(file.repo, file.path)
    turned = bytes([*whole[:-1], whole[-1] ^ 1])
    hub.describe = lambda repo, path: described if path == file.path else StandIn.describe(hub, repo, path)
    hub.files[file.repo, file.path] = turned
    with pytest.raises(UserError, match=rf"{file.path} arrived damaged"):
        get("svi2pro", tmp_path, silent, hub.endpoint)
    assert not (tmp_path / file.place).exists()
    hub.files[file.repo, file.path] = whole
    get("svi2pro", tmp_path, silent, hub.endpoint)
    assert (tmp_path / file.place).read_bytes() == whole


def test_space_is_checked_before_anything_is_downloaded(hub, tmp_path):
    hub.claimed[file_of(Part.SVI_LOW).path] = {"size": 10**18}
    with pytest.raises(
        UserError, match=r"The download needs 931322574\.\d GiB on the disk of .*, and .* GiB are free\."
    ):
        get("svi2pro", tmp_path / "models", silent, hub.endpoint)
    assert not hub.sent
    assert not (tmp_path / "models").exists()


def test_file_that_the_hub_lacks_is_named_before_anything_is_downloaded(hub, tmp_path):
    file = file_of(Part.SVI_HIGH)
    del hub.files[file.repo, file.path]
    with pytest.raises(UserError) as caught:
        get("svi2pro", tmp_path, silent, hub.endpoint)
    assert str(caught.value) == f"The {file.part} cannot be downloaded: the repository {file.repo} has no {file.path}."
    assert not hub.sent


def test_repository_that_is_gone_is_named(hub, tmp_path):
    hub.files = {key: content for key, content in hub.files.items() if key[0] != "Wan-AI/Wan2.2-I2V-A14B"}
    with pytest.raises(UserError, match=r"The hub has no repository Wan-AI/Wan2\.2-I2V-A14B, or it is private\."):
        get("svi2pro", tmp_path, silent, hub.endpoint)


def test_hub_that_fails_or_is_away_is_told_in_a_sentence(hub, tmp_path):
    hub.status = 403
    with pytest.raises(UserError, match=r"The high-noise expert cannot be downloaded from .* now: .*403.*next try\."):
        get("svi2pro", tmp_path, silent, hub.endpoint)
    with pytest.raises(UserError, match=r"The high-noise expert cannot be downloaded from .* now: .*next try\."):
        get("svi2pro", tmp_path, silent, "http://127.0.0.1:9")


def test_file_in_the_way_is_kept(hub, tmp_path):
    place = tmp_path / file_of(Part.VAE).place
    place.parent.mkdir()
    place.write_bytes(b"not a VAE")
    with pytest.raises(UserError, match=r"wan_2\.1_vae\.safetensors is in the way: it cannot be used as the VAE"):
        get("svi2pro", tmp_path, silent, hub.endpoint)
    assert place.read_bytes() == b"not a VAE"
    assert not hub.sent


def test_unknown_set_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"There is no set called svi3; there are svi2pro, lightning, lightning-2025\."):
        get("svi3", tmp_path, silent)


def test_environment_names_the_hub(hub, tmp_path):
    """HF_ENDPOINT is read by huggingface_hub when a process starts."""
    script = "import sys, pathlib; from engine.hub import get; get('lightning', pathlib.Path(sys.argv[1]), print)"
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, cwd=ROOT, check=True, capture_output=True
    )
    assert b"Download(file='loras/" in done.stdout
    assert set(find_models(tmp_path).pieces) == {Part.LIGHTNING_HIGH, Part.LIGHTNING_LOW}
