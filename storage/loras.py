"""The LoRA library: a folder of NAME.safetensors, each with what NAME.json says of it, or without.

People and plans choose by name. A name is looked up among the files that are there and never becomes a path.
"""

import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from storage.schema import Lora, LoraSheet, MediaId, UserError

SUFFIX = ".safetensors"
SHOWN = 20  # names in a message
STRONGEST = 4  # of a strength; beyond, pictures are noise


@dataclass(frozen=True)
class LibraryLora:
    """One file of the library."""

    name: str
    path: Path
    sheet: LoraSheet
    fault: str = ""  # why its side file cannot be used, in one sentence

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.sheet.title or self.name

    def is_called(self, name: str) -> bool:
        """Whether a name, in any case, is its own or its title."""
        return name.casefold() in {self.name.casefold(), self.title.casefold()}


@dataclass(frozen=True)
class LoraLibrary:
    """What lies in a folder, looked up anew each time: files come and go while a bot runs."""

    folder: Path
    _hashes: dict[tuple[Path, int, int], MediaId] = field(default_factory=dict, compare=False)

    def entries(self) -> tuple[LibraryLora, ...]:
        """Every LoRA, by name; no folder is an empty library."""
        files = sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []
        return tuple(_entry(path) for path in files if path.is_file() and not path.name.startswith("."))

    def find(self, name: str) -> LibraryLora:
        """The LoRA of a name or a title; UserError names those that there are."""
        entries = self.entries()
        found = next((lora for lora in entries if lora.name == name), None)
        found = found or next((lora for lora in entries if lora.is_called(name)), None)
        if found is None:
            names = ", ".join(lora.name for lora in entries[:SHOWN]) + (", ..." if len(entries) > SHOWN else "")
            there = f"there are {names}" if names else f"put {SUFFIX} files into {self.folder.name}"
            raise UserError(f"There is no LoRA {name[:60]} in the library: {there}.")
        return found

    def choose(self, name: str, strength: str | None = None) -> tuple[Lora, ...]:
        """A LoRA and those that come with it, as a plan names them: with their files' hashes."""
        first = self.find(name)
        chosen = [first, *(self.find(other) for other in first.sheet.together)]
        if faults := [lora.fault for lora in chosen if lora.fault]:
            raise UserError(faults[0])
        return tuple(
            Lora(
                name=lora.name,
                strength=_checked(lora.sheet.strength_of(strength)),
                sha256=self.hash_of(lora.path),
                triggers=lora.sheet.triggers,
            )
            for lora in chosen
        )

    def file_of(self, lora: Lora) -> Path:
        """The file that a plan means; UserError where there is another one by now."""
        found = next((entry for entry in self.entries() if entry.name == lora.name), None)
        if found is None:
            raise UserError(f"There is no LoRA {lora.name}: put {lora.name}{SUFFIX} into {self.folder}.")
        if lora.sha256 and self.hash_of(found.path) != lora.sha256:
            raise UserError(
                f"The LoRA {lora.name} is another file than when this film was planned: put that one back, or plan "
                "the film anew."
            )
        return found.path

    def hash_of(self, path: Path) -> MediaId:
        """The SHA-256 of a file, computed once while it stays as it is."""
        state = path.stat()
        key = path, state.st_size, state.st_mtime_ns
        if key not in self._hashes:
            with path.open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]


def _checked(strength: str) -> str:
    """A strength that may be filmed with, phase by phase and step by step."""
    with contextlib.suppress(ValueError):
        if all(abs(float(number)) <= STRONGEST for number in re.split("[;,]", strength)):
            return strength
    raise UserError(
        f"A LoRA's strength is written like 0.8, 1;0 or 1,0.5, in numbers up to {STRONGEST}, not {strength[:60]}."
    )


def _entry(path: Path) -> LibraryLora:
    name, side = path.name.removesuffix(SUFFIX), path.with_suffix(".json")
    if not side.is_file():
        return LibraryLora(name, path, LoraSheet())
    try:
        return LibraryLora(name, path, LoraSheet.model_validate_json(side.read_bytes()))
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        fault = f"{side.name} in the LoRA library is wrong: {f'{where}: ' if where else ''}{wrong['msg']}."
        return LibraryLora(name, path, LoraSheet(), fault)
