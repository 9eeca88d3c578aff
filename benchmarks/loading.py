"""Times how fast the weights of a checkpoint come to the device, and to a pool of blocks in host memory.

    python benchmarks/loading.py --gigabytes 8 --folder /var/tmp     on a machine with a GPU
    python benchmarks/loading.py --toy                               the same code at toy size, on any machine

A file of random blocks of the 14 B model is written, so that it is in the page cache; `--cold` asks the kernel to drop
it first. "plain" copies one memory-mapped tensor after the other, "brought" is engine/checkpoints/transfer.py. The last
line is one JSON object.
"""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from rig import commit, device_name, randomised, wait
from safetensors.torch import save_file

from engine.checkpoints.files import SafetensorsFiles
from engine.checkpoints.transfer import brought
from engine.demo import untrained
from engine.dit import TEXT_PRODUCTS, Block, DiTConfig
from engine.streaming import Pool


def main() -> None:
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"commit {options.commit}, torch {torch.__version__}, {device_name(device)}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "blocks.safetensors"
        nbytes = write(file, options, device)
        seconds = {}
        for name, way in {"plain": plain, "brought": through_threads, "host pool": to_pool}.items():
            if options.cold:
                with file.open("rb") as written:
                    os.fsync(written.fileno())
                    os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began = time.perf_counter()
            kept = way(file, device, options)
            wait()
            seconds[name] = time.perf_counter() - began
            print(f"{name:10} {seconds[name]:7.2f} s  {nbytes / 1e9 / seconds[name]:6.2f} GB/s", flush=True)
            del kept
    rates = {name: round(nbytes / 1e9 / value, 3) for name, value in seconds.items()}
    facts = {"device": device_name(device), "commit": options.commit, "torch": torch.__version__, "cold": options.cold}
    print(json.dumps({**facts, "gigabytes": round(nbytes / 1e9, 3), "gigabytes_a_second": rates}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy blocks")
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--folder", default=None, help="where the file is written")
    parser.add_argument("--cold", action="store_true", help="from the disk, not from the kernel's cache")
    parser.add_argument("--commit", default=commit(), help="what to call the code, where git is not at hand")
    return parser.parse_args()


def sizes(options: argparse.Namespace) -> DiTConfig:
    return untrained.DIT if options.toy else DiTConfig()


def write(file: Path, options: argparse.Namespace, device: torch.device) -> int:
    """Blocks side by side. -> bytes"""
    with torch.device("meta"):
        block = Block(sizes(options)).requires_grad_(False).to(torch.bfloat16)
    weights = randomised(block, device).state_dict()
    nbytes = sum(weight.nbytes for weight in weights.values())
    count = 2 if options.toy else max(1, int(options.gigabytes * 1e9 / nbytes))
    save_file({f"blocks.{n}.{name}": weight.cpu() + n for n in range(count) for name, weight in weights.items()}, file)
    return count * nbytes


def plain(file: Path, device: torch.device, _: argparse.Namespace) -> object:
    tensors = SafetensorsFiles([file])
    return [tensors.read(name).to(device) for name in tensors.stored]


def through_threads(file: Path, device: torch.device, _: argparse.Namespace) -> object:
    tensors = SafetensorsFiles([file])
    return list(brought([partial(tensors.read, name) for name in tensors.stored], device))


def to_pool(file: Path, device: torch.device, options: argparse.Namespace) -> object:
    """Into pinned memory, from where blocks take turns on the device."""
    tensors = SafetensorsFiles([file])
    count = 1 + max(int(name.split(".")[1]) for name in tensors.stored)
    with torch.device("meta"):
        network = torch.nn.ModuleList(Block(sizes(options)).to(torch.bfloat16) for _ in range(count))
    weights = {name.removeprefix("blocks."): tensors.read(name) for name in tensors.stored}
    network.load_state_dict(weights, assign=True)
    pool = Pool(device)
    pool.add(network.requires_grad_(False), list(network), fetched=TEXT_PRODUCTS)
    return pool


if __name__ == "__main__":
    main()
