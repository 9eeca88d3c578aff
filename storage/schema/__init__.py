"""The words of Longtake as frozen values: request -> intent -> storyboard -> plan -> job -> take.

Everything that crosses a process, a disk or a language model is one of these. A Plan is a pure value: same plan,
same video. Identities, states and times belong to Job and Take.
"""

from storage.schema.card import Card, Person, Policy, Style
from storage.schema.job import Draft, Errand, Film, Job, JobEvent, JobState, Progress, Stage, Take
from storage.schema.lora import Lora, LoraSheet
from storage.schema.measured import Measured, Seam
from storage.schema.plan import (
    BeatSpan,
    ContinueTake,
    ContinueVideo,
    Finish,
    Guide,
    Plan,
    Source,
    StartImage,
    Timing,
    Window,
)
from storage.schema.request import Clip, Image, Intent, IntentKind, Request, Wishes
from storage.schema.sampling import (
    MAGCACHE_STEPS,
    NAG,
    Expert,
    GuidanceRule,
    MagCacheSettings,
    Phase,
    RefinedSteps,
    Refiner,
    Sampling,
    SkipLayers,
    Solver,
    parse_refiner_plan,
)
from storage.schema.size import Size
from storage.schema.storyboard import Beat, Storyboard, StoryboardWindow
from storage.schema.tuning import MOST_STEPS, NOISE_LEVELS, Term, Tuning
from storage.schema.value import MediaId, Seed, UserError, Value

__all__ = [
    "MAGCACHE_STEPS",
    "MOST_STEPS",
    "NAG",
    "NOISE_LEVELS",
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
    "Finish",
    "GuidanceRule",
    "Guide",
    "Image",
    "Intent",
    "IntentKind",
    "Job",
    "JobEvent",
    "JobState",
    "Lora",
    "LoraSheet",
    "MagCacheSettings",
    "Measured",
    "MediaId",
    "Person",
    "Phase",
    "Plan",
    "Policy",
    "Progress",
    "RefinedSteps",
    "Refiner",
    "Request",
    "Sampling",
    "Seam",
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
    "Term",
    "Timing",
    "Tuning",
    "UserError",
    "Value",
    "Window",
    "Wishes",
    "parse_refiner_plan",
]
