"""The words of Longtake as frozen values: request -> intent -> storyboard -> plan -> job -> take.

Everything that crosses a process, a disk or a language model is one of these. A Plan is a pure value: same plan,
same video. Identities, states and times belong to Job and Take.
"""

from storage.errors import UserError
from storage.schema.card import Card, Person, Policy, Style
from storage.schema.job import Draft, Errand, Film, Job, JobEvent, JobState, Progress, Stage, Take
from storage.schema.plan import BeatSpan, ContinueTake, ContinueVideo, Lora, Plan, Source, StartImage, Timing, Window
from storage.schema.request import Clip, Image, Intent, IntentKind, Request, Size, Wishes
from storage.schema.sampling import (
    MAGCACHE_STEPS,
    NAG,
    Expert,
    GuidanceRule,
    MagCacheSettings,
    Phase,
    Sampling,
    SkipLayers,
    Solver,
)
from storage.schema.storyboard import Beat, Storyboard, StoryboardWindow
from storage.schema.value import MediaId, Seed, Value

__all__ = [
    "MAGCACHE_STEPS",
    "NAG",
    "Beat",
    "BeatSpan",
    "Card",
    "Clip",
    "ContinueTake",
    "ContinueVideo",
    "Draft",
    "Errand",
    "Expert",
    "Film",
    "GuidanceRule",
    "Image",
    "Intent",
    "IntentKind",
    "Job",
    "JobEvent",
    "JobState",
    "Lora",
    "MagCacheSettings",
    "MediaId",
    "Person",
    "Phase",
    "Plan",
    "Policy",
    "Progress",
    "Request",
    "Sampling",
    "Seed",
    "Size",
    "SkipLayers",
    "Solver",
    "Source",
    "Stage",
    "StartImage",
    "Storyboard",
    "StoryboardWindow",
    "Style",
    "Take",
    "Timing",
    "UserError",
    "Value",
    "Window",
    "Wishes",
]
