"""Checkpoints as people have them: official, diffusers, ComfyUI, Kijai, LightX2V and GGUF files -> the same weights.

open_checkpoint reads headers only and fails with the name of a tensor that is missing, surplus or misshapen; the
load_* functions then stream the weights, one tensor at a time, to the device and the dtype that they are wanted in.
"""

from engine.checkpoints.checkpoint import Checkpoint, open_checkpoint
from engine.checkpoints.find import Found, Part, Piece, find_models
from engine.checkpoints.header import Foreign, Kind
from engine.checkpoints.load import load_dit, load_text_weights, load_vae
from engine.checkpoints.sizes import TextConfig

__all__ = [
    "Checkpoint",
    "Foreign",
    "Found",
    "Kind",
    "Part",
    "Piece",
    "TextConfig",
    "find_models",
    "load_dit",
    "load_text_weights",
    "load_vae",
    "open_checkpoint",
]
