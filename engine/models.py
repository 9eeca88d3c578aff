"""The networks that a plan is filmed with: read when they are asked for, and kept where there is room for them."""

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from engine.checkpoints.checkpoint import CPU
from engine.checkpoints.find import FINISH_DIR, Found, Part, find_models
from engine.dit import TEXT_PRODUCTS, DiT, DiTConfig
from engine.loras.by_step import Recipe, StepLoras, apply_recipe, lora_reader, recipe_for
from engine.memory import Need, Placement, Precision, Tier, available_bytes, needs, place, room_for_blocks
from engine.parts import Parts, as_found, dit_sizes, in_folder, readable, state
from engine.previews.preview import Previewer
from engine.settings import EngineSettings
from engine.streaming import Pool
from engine.team.lead import Lead
from engine.text import TextEncoder
from engine.vae import VAE
from engine.velocity import Networks
from storage.loras import LoraLibrary
from storage.schema import Expert, Lora, Plan, UserError

log = logging.getLogger("longtake.models")

DEMO = Path(__file__).parent / "demo" / "weights"
SVI2PRO = "svi2pro"
ENHANCED = "svi2pro-enhanced"  # the same with experts that were distilled themselves
SET_LORAS = {  # what plans call the LoRAs of the set, whatever their files are called
    "svi-pro-high": Part.SVI_HIGH,
    "svi-pro-low": Part.SVI_LOW,
    "lightning-high": Part.LIGHTNING_HIGH,
    "lightning-low": Part.LIGHTNING_LOW,
    "lightning-2025-high": Part.LIGHTNING_2025_HIGH,
}


@dataclass(frozen=True, kw_only=True)
class Models(Networks):
    """Everything that one plan needs, on one device. Where there is a `lead`, others predict along."""

    vae: VAE
    text: TextEncoder
    trained: bool
    finish_dir: Path  # where the networks of engine/finish lie
    latents_per_call: int = 1  # of the VAE's decoder
    beside: bool = False  # a window is decoded while the next one is denoised
    previewer: Previewer | None = None  # what shows latents of this model quickly, where that is known
    lead: Lead | None = None


@dataclass(frozen=True)
class Loaded:
    """The experts in use: what was asked for, where they lie and are kept; and the VAE and texts of a leader."""

    model: str
    recipes: Mapping[Expert, Recipe]
    parts: Parts
    placement: Placement
    networks: Networks
    vae_and_text: tuple[VAE, TextEncoder] | None = None
    previewer: Previewer | None = None


class ModelShelf:
    """The models in use: one set at a time, kept from job to job, where there is room for them."""

    def __init__(
        self, settings: EngineSettings, device: torch.device, dtype: torch.dtype, lead: Lead | None = None
    ) -> None:
        self._settings = settings
        self._lead = lead
        self.device = device
        self._dtype = dtype
        self._wanted = None if settings.memory == "auto" else Tier(settings.memory)
        self._largest = Tier.RESIDENT
        self.tier: Tier | None = None  # of the models in use, or of the last ones that were tried
        self._library = LoraLibrary(settings.lora_dir)
        self._loaded: Loaded | None = None
        self._found: Found | None = None
        self.ledgers: dict[str, str] = {}  # of every LoRA that was read: what became of its keys

    def load(self, plan: Plan) -> Models:
        """The models that a plan asks for, its LoRAs included; UserError when something is not there."""
        loaded = self._loaded
        if loaded is None or not self._serves(loaded, plan):
            kept = loaded.vae_and_text if loaded and loaded.model == plan.model else None
            loaded = None
            parts, placement = self._found_for(plan)
            with self._others(plan, placement.tier), readable(plan.model):
                vae, text = kept or (parts.load_vae(), parts.load_text())
                text.keep(placement.text_on_device)
                self._loaded = loaded = replace(
                    self._read(parts, plan, placement), vae_and_text=(vae, text), previewer=parts.load_previewer()
                )
        else:
            with self._others(plan, loaded.placement.tier):
                pass
        self._make_room(loaded, plan)
        assert loaded.vae_and_text is not None, "of a leader"
        vae, text = loaded.vae_and_text
        text.prepare(text for window in plan.windows for text in (window.prompt, window.negative))
        placement = self._placement(loaded.parts, plan)
        return Models(
            **vars(loaded.networks),
            vae=vae,
            text=text,
            trained=loaded.parts.trained,
            finish_dir=self.finish_dir,
            latents_per_call=self._latents_per_call(placement),
            beside=placement.beside and self.device.type == "cuda",  # a CPU has nothing to fill its gaps with
            previewer=loaded.previewer,
            lead=self._lead,
        )

    def load_experts(self, plan: Plan, tier: Tier) -> Networks:
        """The experts of a plan alone, for who follows a leader: in the leader's tier."""
        self._wanted = tier
        loaded = self._loaded
        if loaded is None or loaded.placement.tier is not tier or not self._same(loaded, plan):
            loaded = None
            parts, placement = self._found_for(plan)
            with readable(plan.model):
                self._loaded = loaded = self._read(parts, plan, placement)
        self._make_room(loaded, plan)
        return loaded.networks

    def shrink(self) -> Tier | None:
        """Let go of the models in use, and return the next smaller tier, in which models are loaded from then on.

        Without a smaller tier nothing changes, and None is returned. To be called after a torch.OutOfMemoryError was
        caught and dropped: its traceback holds the tensors that did not fit.
        """
        smaller = (self.tier or Tier.RESIDENT).smaller()
        if smaller is not None:
            self._wanted, self._largest, self._loaded = None, smaller, None
            self._give_back()
        return smaller

    def installed(self) -> list[str]:
        """Names of the models that `load` finds, each with a word on whether it was trained."""
        folders = {config.parent.name: config.parent for config in sorted(self._models_dir.glob("*/config.json"))}
        if (DEMO / "config.json").is_file():
            folders.setdefault("demo", DEMO)
        names = [name + state(folder) for name, folder in folders.items()]
        return [*names, *(name for name in (SVI2PRO, ENHANCED) if not self.found(name).missing)]

    def found(self, name: str = SVI2PRO) -> Found:
        """What of the 14 B model lies in the models folder, or of the enhanced one."""
        self._found = find_models(self._models_dir, distilled_experts=name == ENHANCED)
        return self._found

    def find(self, name: str) -> Parts:
        """Where a model lies; a folder of its name in the models folder comes before the demo that ships."""
        folders = [self._models_dir / name, *([DEMO] if name == "demo" else [])]
        for folder in folders:
            if (folder / "config.json").is_file():
                return in_folder(folder, self.device, self._dtype, self._settings.embeddings)
        if name not in (SVI2PRO, ENHANCED):
            raise UserError(f"The model {name} is not installed: there is no {folders[0] / 'config.json'}.")
        found = self.found(name)
        if found.missing:
            missing = "; ".join(found.missing)
            raise UserError(f"The model {name} is not complete. Missing in {self._models_dir}: {missing}.")
        return as_found(found, self.device, self._dtype, self._settings.embeddings)

    def find_lora(self, lora: Lora) -> Path:
        """The file of a LoRA: of the set by its role, of the library by its name, if it is the one that was planned."""
        if lora.name in SET_LORAS and not lora.sha256:
            return (self._found or self.found()).path(SET_LORAS[lora.name])
        return self._library.file_of(lora)

    @property
    def finish_dir(self) -> Path:
        """Where networks that finish a film are looked for."""
        return self._models_dir / FINISH_DIR

    def _found_for(self, plan: Plan) -> tuple[Parts, Placement]:
        """Where a plan's networks lie and will be kept. What was loaded before has gone."""
        self._loaded = None
        self._give_back()
        self._found = None  # looked up once for a load, not once for each of its LoRAs
        with readable(plan.model):
            parts = self.find(plan.model)
        placement = self._placement(parts, plan)
        self.tier = placement.tier
        return parts, placement

    @contextmanager
    def _others(self, plan: Plan, tier: Tier) -> Iterator[None]:
        """In the block, those that predict along load the same experts."""
        if self._lead is None:
            yield
            return
        with self._lead.loading(plan, tier):
            yield

    def _read(self, parts: Parts, plan: Plan, placement: Placement) -> Loaded:
        recipes = _recipes(plan)
        pool = None if placement.tier is Tier.RESIDENT else Pool(self.device)
        read: dict[tuple[Path, Recipe], tuple[DiT, StepLoras | None]] = {}
        for expert, file in parts.expert_files.items():
            if (file, recipes[expert]) not in read:
                read[file, recipes[expert]] = self._read_expert(parts, file, recipes[expert], pool)
        chosen = {expert: read[file, recipes[expert]] for expert, file in parts.expert_files.items()}
        networks = Networks(
            experts={expert: network for expert, (network, _) in chosen.items()},
            device=self.device,
            step_loras={expert: varying for expert, (_, varying) in chosen.items() if varying},
            pool=pool,
        )
        return Loaded(plan.model, recipes, parts, placement, networks)

    def _read_expert(self, parts: Parts, file: Path, recipe: Recipe, pool: Pool | None) -> tuple[DiT, StepLoras | None]:
        """One network, with its LoRAs and in its precision; on the device, or in a pool of it."""
        network = parts.load_expert(file, CPU if pool else self.device)
        reader = lora_reader(network, self.find_lora, self.ledgers)
        varying = apply_recipe(network, recipe, reader, self.device)
        if self._settings.precision.startswith("fp8"):  # after the LoRAs: what is rounded is their sum
            network.to_fp8(attention=self._settings.precision == "fp8-attention", device=self.device)
        if pool:
            pool.add(network, cast("Sequence[nn.Module]", network.blocks), fetched=TEXT_PRODUCTS)
        return network, varying

    def _same(self, loaded: Loaded, plan: Plan) -> bool:
        """Whether these are the experts of a plan."""
        return (loaded.model, loaded.recipes) == (plan.model, _recipes(plan))

    def _serves(self, loaded: Loaded, plan: Plan) -> bool:
        """Whether these are the models of a plan, and leave it the room that its work needs."""
        return self._same(loaded, plan) and loaded.placement.within(self._placement(loaded.parts, plan))

    def _make_room(self, loaded: Loaded, plan: Plan) -> None:
        """Have as many blocks stay on the device as a plan leaves room for."""
        pool = loaded.networks.pool
        if pool is None:
            return
        need = self._need(loaded.parts, plan)
        beside = need.experts * need.rest + need.vae
        if self.device.type == "cuda":  # then LoRAs beside the experts are counted, too
            beside = torch.cuda.memory_allocated(self.device) - pool.nbytes
        free = (self._available() or 0) - beside
        if pool.resize(room_for_blocks(loaded.placement.tier, need, pool.sizes, free)):
            kept, all_blocks = len(pool.resident), len(pool.sizes)
            log.info("%s: %s, %d of %d blocks stay", loaded.model, loaded.placement.tier, kept, all_blocks)

    def _placement(self, parts: Parts, plan: Plan) -> Placement:
        """For the tightest of the devices that predict."""
        rooms = (self._available(), None if self._lead is None else self._lead.available())
        tightest = min((room for room in rooms if room is not None), default=None)
        return place(self._need(parts, plan), tightest, self._wanted, self._largest)

    def _need(self, parts: Parts, plan: Plan) -> Need:
        kept = {(file, recipe_for(expert, plan.loras, plan.sampling)) for expert, file in parts.expert_files.items()}
        precision = Precision(self._dtype.itemsize, fp8=self._settings.precision.startswith("fp8"))
        return needs(plan, parts.sizes, parts.vae_sizes, parts.text_bytes, precision, experts=len(kept))

    def _latents_per_call(self, placement: Placement) -> int:
        """More are faster, but a CPU's bfloat16 convolutions, which keep their data in its cache."""
        return 2 if (self.device.type, self._dtype) == ("cpu", torch.bfloat16) else placement.latents_per_call

    def _available(self) -> int | None:
        return available_bytes(self.device, self._settings.memory_gib)

    def _give_back(self) -> None:
        """Free the memory of networks that nobody uses: their hooks hold them in circles."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _models_dir(self) -> Path:
        return self._settings.models_dir


def _recipes(plan: Plan) -> dict[Expert, Recipe]:
    return {expert: recipe_for(expert, plan.loras, plan.sampling) for expert in Expert}


def expert_sizes(models_dir: Path) -> dict[str, DiTConfig]:
    """Sizes of the experts of every model that a LoRA may be for, be it installed or not."""
    folders = {"demo": DEMO} | {
        config.parent.name: config.parent for config in sorted(models_dir.glob("*/config.json"))
    }
    return {SVI2PRO: DiTConfig(), **dit_sizes(folders)}
