"""What the documentation promises is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.parameters import FIXED, TRANSLATED, parameters
from storage.schema import Tuning

ROOT = Path(__file__).parent.parent
PARAMETERS = (ROOT / "docs/parameters.md").read_text()
SEED = {  # parameters of the seed document: its reference table, then its tabs from General to Misc
    "table": "base_model_type image_prompt_type video_prompt_type frame_num sliding_window_size "
    "sliding_window_overlap "
    "guidance_scale guidance2_scale sample_solver flow_shift NAG_scale NAG_tau NAG_alpha "
    "denoising_strength masking_strength color_correction_strength motion_amplitude",
    "general": "negative_prompt repeat_generation multi_images_gen_type shift_scale sampler",
    "loras": "loras loras_multipliers",
    "steps skipping": "mag_cache tea_cache slg_layers skip_layers",
    "post-processing": "color_correction interpolation upscaling deblocking",
    "audio": "audio_prompt_type audio_guidance_scale speakers_locations",
    "quality": "num_inference_steps resolution vae_upsampler",
    "sliding window": "sliding_window_discard_last_frames",
    "misc": "self_refiner_setting self_refiner_plan self_refiner_f_uncertainty self_refiner_certain_percentage "
    "cfg_star cfg_zero_step adaptive_projected_guidance",
    "frames and modes": "fps black_frame frames_positions image_refs image_end video_guide video_mask "
    "mask_preprocessing profiles_dir keep_frames_video_source prompt seed",
}


def missing(named: list[tuple[str, str]]) -> list[str]:
    return [f"{file}::{name}" for file, name in named if not _stands(ROOT / file, name)]


def _stands(file: Path, name: str) -> bool:
    return file.exists() and f"def {name}(" in file.read_text()


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading of docs/parameters.md."""
    section = PARAMETERS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in re.findall(r"^\| (.*) \|$", section, re.MULTILINE)[1:]:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


def test_every_test_that_the_table_of_features_names_is_there():
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (ROOT / "docs/discord.md").read_text())
    assert len(named) > 20
    assert missing(named) == []


@pytest.mark.parametrize("heading", ["Set by name", "Said otherwise, or fixed"])
def test_every_parameter_names_a_test_that_is_there_and_files_that_are(heading: str):
    table = list(rows(heading))
    assert len(table) > 30
    named = [re.fullmatch(r"`(tests/\w+\.py)::(\w+)`", row[-1]) for row in table]
    assert all(named)
    assert missing([(test[1], test[2]) for test in named if test]) == []
    assert [file for row in table for file in row[-3].split(", ") if not (ROOT / file).exists()] == []


def test_the_table_of_parameters_says_what_the_code_says():
    listed = [[cell.replace("`", "") for cell in row[:6]] for row in rows("Set by name")]
    assert listed == [
        [each.name, " ".join(each.term.also), each.allowed, each.default, each.term.unit, each.term.does]
        for each in parameters()
    ]
    assert [row[0] for row in listed] == list(Tuning.model_fields)


def test_every_name_that_is_fixed_or_translated_is_told():
    told = {name for row in rows("Said otherwise, or fixed") for name in re.findall(r"`(\w+)`", row[0])}
    assert told == set(FIXED)
    between = PARAMETERS.split("whose values are others here:")[1].split("\n## ")[0]
    assert set(TRANSLATED) <= set(re.findall(r"`(\w+)`", between))


@pytest.mark.parametrize("part", SEED)
def test_every_parameter_of_the_seed_document_is_known(part: str):
    names = {name.casefold() for each in parameters() for name in (each.name, *each.term.also)}
    assert [name for name in SEED[part].split() if name.casefold() not in names | {*FIXED} | {*TRANSLATED}] == []
