"""Parameters by name: what is read, what a plan holds then, and what is refused with which sentence."""

import pytest
from directing import directed, draft_of, filmed, picture, plan_of, request, take_of
from hypothesis import given
from hypothesis import strategies as st

from planner.grids import SCHEMES, grid_of
from planner.intent import Context
from planner.parameters import FIXED, TRANSLATED, parameters, read_tuning, written
from planner.presets import DEMO, LIGHTNING_3PHASE, LIGHTNING_4, PRESETS, QUALITY, Preset
from planner.sigmas import causvid_sigmas, euler_sigmas, lcm_sigmas, linear_sigmas, unipc_sigmas
from planner.tuning import extras_of, tune
from prompts import negative_prompt
from storage.schema import Expert, Finish, GuidanceRule, Guide, IntentKind, Plan, Request, Solver, Tuning, UserError

STORY = "my dog runs to the sea"


def tuned(settings: str, preset: Preset = QUALITY, **more: object) -> Plan:
    """The plan of a film with parameters set by name."""
    return filmed(plan_of(STORY, preset=preset, tuning=read_tuning([settings] if settings else []), **more))


def refused(settings: str, preset: Preset = QUALITY) -> str:
    with pytest.raises(UserError) as error:
        tuned(settings, preset)
    return str(error.value)


# ---- what is read ----


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("motion_amplitude=1.15 magcache=1.75", {"motion_amplitude": 1.15, "magcache": 1.75}),
        ("steps=20, solver=dpm++; shift = 8", {"steps": 20, "solver": "dpm++", "shift": 8.0}),
        ("negative=blurry, shaky text shift=3", {"negative": "blurry, shaky text", "shift": 3.0}),
        ('negative="a = b" shift=3', {"negative": "a = b", "shift": 3.0}),
        ("skip_layers=9,10 skip_layers_start=0.2", {"skip_layers": (9, 10), "skip_layers_start": 0.2}),
        ("NAG-scale=5 nag_TAU=2.5", {"nag_scale": 5.0, "nag_tau": 2.5}),
        ("magcache=off interpolation=2", {"magcache": 1.0, "interpolation": 2}),
    ],
)
def test_a_value_goes_on_until_the_next_name(text: str, given: dict[str, object]) -> None:
    assert read_tuning([text]).given == given


def test_options_that_are_given_apart_are_as_in_one_text() -> None:
    assert read_tuning(["shift=3", "steps=20"]) == read_tuning(["shift=3 steps=20"])


@pytest.mark.parametrize(
    ("seeds", "ours"),
    [
        ("flow_shift=8", "shift=8"),
        ("sample_solver=euler", "solver=euler"),
        ("num_inference_steps=20", "steps=20"),
        ("guidance_scale=4 guidance2_scale=3", "guidance=4 guidance2=3"),
        ("switch_threshold=876", "switch=876"),
        ("negative_prompt=blurry", "negative=blurry"),
        ("NAG_scale=11 NAG_tau=2.5 NAG_alpha=0.25", "nag_scale=11 nag_tau=2.5 nag_alpha=0.25"),
        ("cfg_star_switch=1", "guidance_rule=cfg*"),
        ("apg_switch=1", "guidance_rule=apg"),
        ("cfg_zero_step=0", "zero_steps=1"),
        ("cfg_zero_step=-1", "zero_steps=0"),
        ("slg_layers=9 slg_start_perc=10 slg_end_perc=90", "skip_layers=9 skip_layers_start=0.1 skip_layers_stop=0.9"),
        ("skip_steps_cache_type=mag", "magcache=1.75"),
        ("skip_steps_multiplier=2 skip_steps_start_step_perc=20", "magcache=2 magcache_start=0.2"),
        ("self_refiner_setting=2 self_refiner_plan=1-5:3,6-13:1", "refiner_norm=2 refiner_plan=1-5:3,6-13:1"),
        ("self_refiner_f_uncertainty=0.2", "refiner_uncertainty=0.2"),
        ("self_refiner_certain_percentage=0.9", "refiner_certain=0.9"),
        ("color_correction_strength=0.8", "color_correction=0.8"),
        ("sliding_window_discard_last_frames=4", "discard_frames=4"),
        ("temporal_upsampling=rife2 spatial_upsampling=lanczos1.5", "interpolation=2 upscaling=1.5"),
        ("film_grain_intensity=0.2 film_grain_saturation=0", "grain=0.2 grain_saturation=0"),
    ],
)
def test_the_seeds_own_names_are_known(seeds: str, ours: str) -> None:
    assert read_tuning([seeds]) == read_tuning([ours])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("motion_amplitud=1", "There is no parameter motion_amplitud: the nearest is motion_amplitude, a number from 1 "
                              "to 1.4."),
        ("flow_shft=1", "There is no parameter flow_shft: the nearest is shift, a number from 1 to 25."),
        ("moton=1", "There is no parameter moton: the nearest is motion_amplitude, a number from 1 to 1.4."),
        ("zzzz=1", "There is no parameter zzzz: docs/parameters.md lists them."),
        ("shift=99", "shift is a number from 1 to 25, not 99."),
        ("flow_shift=0", "flow_shift is a number from 1 to 25, not 0."),
        ("magcache=1.25", "magcache is a number from 1 to 2.5 in steps of 0.25, not 1.25."),
        ("switch=0.9", "switch is a whole number from 1 to 1000, not 0.9."),
        ("solver=heun", "solver is unipc, euler, dpm++, causvid or lcm, not heun."),
        ("guidance=nan", "guidance is a number from 1 to 20, not nan."),
        ("interpolation=3", "interpolation is 1, 2 or 4, not 3."),
        ("refiner_plan=5-1:3", "The self-refiner's plan is written like 1-5:3,6-13:1, steps from 0 and 1 to 10 "
                               "evaluations of each, not 5-1:3."),
        ("upscaler=../secret", "upscaler is words, not ../secret."),
        ("shift=", "shift needs a value: a number from 1 to 25."),
        ("shift=2 flow_shift=3", "shift is set twice: once, please."),
        ("faster", "A parameter is set as NAME=VALUE, for example motion_amplitude=1.15; docs/parameters.md lists "
                   "them."),
    ],
)  # fmt: skip
def test_what_is_no_parameter_is_answered_with_the_nearest_and_its_range(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        read_tuning([text])
    assert str(error.value) == sentence


@pytest.mark.parametrize("name", FIXED)
def test_a_name_of_the_seed_that_is_fixed_here_says_what_it_is(name: str) -> None:
    with pytest.raises(UserError) as error:
        read_tuning([f"{name}=81"])
    assert str(error.value) == FIXED[name]
    assert FIXED[name].endswith(".")


def test_teacache_is_refused_with_the_name_of_what_there_is() -> None:
    for asked in ("teacache=1.5", "tea_cache=1", "skip_steps_cache_type=tea"):
        with pytest.raises(UserError, match=r"TeaCache is not for this model.*use MagCache"):
            read_tuning([asked])


def test_no_name_means_two_things() -> None:
    own = [name.casefold() for each in parameters() for name in (each.name, *each.term.also)]
    assert len(own) == len(set(own))
    assert not {*own} & {*FIXED} | {*own} & {*TRANSLATED} | {*FIXED} & {*TRANSLATED}


VALUES = {
    "steps": st.integers(2, 50),
    "solver": st.sampled_from(["unipc", "euler", "dpm++"]),
    "shift": st.integers(10, 250).map(lambda tenths: tenths / 10),
    "guidance": st.integers(10, 200).map(lambda tenths: tenths / 10),
    "guidance2": st.integers(11, 200).map(lambda tenths: tenths / 10),
    "switch": st.integers(500, 1000),
    "switch2": st.integers(1, 499),
    "negative": st.text("abc =,\t", min_size=1).filter(lambda text: text.strip("\"' ,\t")),
    "guidance_rule": st.sampled_from(GuidanceRule),
    "nag_scale": st.integers(2, 20).map(float),
    "skip_layers": st.lists(st.integers(0, 39), max_size=3).map(tuple),
    "magcache": st.sampled_from([1.0, 1.5, 1.75, 2.0, 2.25, 2.5]),
    "motion_amplitude": st.integers(100, 140).map(lambda hundredths: hundredths / 100),
    "refiner_norm": st.sampled_from([0, 1, 2]),
    "refiner_plan": st.just(read_tuning(["refiner_plan=1-5:3,6:2"]).refiner_plan),
    "color_correction": st.integers(0, 100).map(lambda hundredths: hundredths / 100),
    "discard_frames": st.just(0),
    "interpolation": st.sampled_from([1, 2, 4]),
    "grain": st.sampled_from([0.0, 0.1, 1.0]),
}
PLAIN = {
    "rule": GuidanceRule.CFG,
    "nag": None,
    "skip_layers": None,
    "magcache": None,
    "refiner": None,
    "motion_amplitude": 1.0,
}
TUNINGS = st.fixed_dictionaries({}, optional=VALUES).map(Tuning.model_validate)


@given(TUNINGS)
def test_what_is_written_is_read_as_the_same(tuning: Tuning) -> None:
    if tuning.negative is not None:
        tuning = tuning.model_copy(update={"negative": tuning.negative.strip(" ,\t")})
    assert read_tuning([written(tuning)] if tuning else []) == tuning
    assert Tuning.model_validate_json(tuning.model_dump_json()) == tuning


# ---- what a plan holds then ----


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_nothing_set_changes_nothing_and_the_presets_grids_are_recognised(preset: Preset) -> None:
    plan = tuned("", preset)
    assert tune(plan, Tuning()) == plan
    grid = grid_of(preset.sampling)
    assert grid is not None
    again = grid.scheme.levels(preset.sampling.steps, grid.shift)
    assert again == pytest.approx(preset.sampling.sigmas, abs=1e-9)


@given(TUNINGS)
def test_twice_is_as_once(tuning: Tuning) -> None:
    try:
        once = tune(tuned(""), tuning)
    except UserError:
        return
    assert tune(once, tuning) == once


@given(TUNINGS)
def test_what_a_plan_has_beside_its_preset_makes_it_again(tuning: Tuning) -> None:
    try:
        plan = tune(tuned(""), tuning)
    except UserError:
        return
    extras = extras_of(plan)
    plain = plan.model_copy(update={"sampling": plan.sampling.model_copy(update=PLAIN), "finish": Finish()})
    assert tune(plain.model_copy(update={"color_correction": 0.0}), extras) == plan
    assert extras_of(tuned("")) == Tuning()


@given(st.sampled_from(list(SCHEMES.values())), st.integers(2, 8), st.integers(10, 250))
def test_every_grid_is_recognised_by_its_levels(scheme, steps: int, tenths: int) -> None:
    sampling = QUALITY.sampling.model_copy(
        update={"solver": scheme.solver, "sigmas": scheme.levels(steps, tenths / 10)}
    )
    grid = grid_of(sampling)
    assert grid is not None
    assert grid.scheme.levels(steps, grid.shift) == pytest.approx(sampling.sigmas, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "preset", "solver", "sigmas"),
    [
        ("steps=20", QUALITY, Solver.UNIPC, unipc_sigmas(20, 5)),
        ("shift=8", QUALITY, Solver.UNIPC, unipc_sigmas(30, 8)),
        ("solver=euler", QUALITY, Solver.EULER, euler_sigmas(30, 5)),
        ("solver=dpm++ steps=12 shift=3", QUALITY, Solver.DPMPP, linear_sigmas(12, 3)),
        ("solver=causvid", QUALITY, Solver.EULER, causvid_sigmas(9)),
        ("solver=lcm", QUALITY, Solver.EULER, lcm_sigmas(8, 5)),
        ("solver=lcm steps=4", LIGHTNING_4, Solver.EULER, lcm_sigmas(4, 5)),
        ("steps=6", LIGHTNING_4, Solver.EULER, linear_sigmas(6, 5)),
        ("solver=euler steps=6", LIGHTNING_4, Solver.EULER, linear_sigmas(6, 5)),
        ("steps=6", LIGHTNING_3PHASE, Solver.EULER, euler_sigmas(6, 3)),
        ("steps=4", DEMO, Solver.EULER, linear_sigmas(4, 5)),
    ],
)
def test_steps_solver_and_shift_make_the_noise_levels(
    settings: str, preset: Preset, solver: Solver, sigmas: tuple[float, ...]
) -> None:
    sampling = tuned(settings, preset).sampling
    assert sampling.solver is solver
    assert sampling.sigmas == pytest.approx(sigmas, abs=1e-9)


def test_guidance_and_thresholds_are_set_by_phase() -> None:
    first, second = tuned("guidance=5 guidance2=2 switch=876").sampling.phases
    assert (first.expert, first.guidance, first.above) == (Expert.HIGH_NOISE, 5, 0.876)
    assert (second.expert, second.guidance, second.above) == (Expert.LOW_NOISE, 2, 0)


def test_a_second_threshold_makes_a_third_phase() -> None:
    phases = tuned("switch2=500 guidance3=1").sampling.phases
    assert [(phase.above, phase.guidance) for phase in phases] == [(0.9, 3.5), (0.5, 3.5), (0, 1)]
    assert phases[2].expert is Expert.LOW_NOISE


def test_nag_magcache_refiner_and_skipped_layers_are_turned_on_and_off() -> None:
    on = "nag_scale=11 nag_tau=2.5 magcache=2 refiner_norm=2 refiner_uncertainty=0.2 skip_layers=9,10 guidance=4"
    plan = tuned(on)
    sampling = plan.sampling
    assert sampling.nag
    assert (sampling.nag.scale, sampling.nag.tau, sampling.nag.alpha) == (11, 2.5, 0.5)
    assert sampling.magcache
    assert sampling.magcache.speed == 2
    assert sampling.refiner
    assert (sampling.refiner.norm, sampling.refiner.uncertainty) == (2, 0.2)
    assert sampling.skip_layers
    assert sampling.skip_layers.blocks == (9, 10)
    off = tune(plan, read_tuning(["nag_scale=off magcache=off refiner_norm=off skip_layers=off"])).sampling
    assert (off.nag, off.magcache, off.refiner, off.skip_layers) == (None, None, None, None)


def test_a_plan_of_steps_turns_the_refiner_on() -> None:
    refiner = tuned("refiner_plan=0-1:4").sampling.refiner
    assert refiner
    assert [(span.first, span.last, span.evaluations) for span in refiner.steps] == [(0, 1, 4)]


def test_guidance_rule_and_zero_steps_are_set() -> None:
    sampling = tuned("guidance_rule=apg zero_steps=1").sampling
    assert (sampling.rule, sampling.zero_steps) == (GuidanceRule.APG, 1)
    assert tuned("guidance_rule=cfg*").sampling.rule is GuidanceRule.CFG_STAR


def test_motion_colours_and_discarded_frames_are_set() -> None:
    plan = tuned("motion_amplitude=1.2 color_correction=0.8 discard_frames=4")
    assert (plan.sampling.motion_amplitude, plan.color_correction, plan.discard_frames) == (1.2, 0.8, 4)


def test_what_is_done_behind_the_network_is_set() -> None:
    finish = tuned(
        "interpolation=2 upscaling=1.5 deblocking=0.3 frame_denoising=0.2 grain=0.1 grain_saturation=0"
    ).finish
    assert (finish.interpolation, finish.upscaling, finish.deblocking) == (2, 1.5, 0.3)
    assert (finish.denoising, finish.grain, finish.grain_saturation) == (0.2, 0.1, 0)
    named = tuned("interpolator=rife426 upscaler=4x-sharp").finish
    assert (named.interpolator, named.upscaler) == ("rife426", "4x-sharp")


def test_other_words_go_to_the_negative_prompt_and_what_must_not_be_seen_stays_behind_them() -> None:
    plan = filmed(plan_of(f"{STORY}, no people", tuning=Tuning(negative="blurry")))
    assert {window.negative for window in plan.windows} == {"blurry, people"}
    assert tuned("").windows[0].negative == negative_prompt()


def test_the_strengths_of_a_guide_are_set_where_there_is_one() -> None:
    guide = Guide(video="d" * 64)
    plan = tuned("denoising_strength=0.5 masking_strength=0.2", guide=guide)
    assert plan.guide == Guide(video="d" * 64, denoising=0.5, masking=0.2)
    assert "d" * 64 in plan.media
    assert tuned("", guide=guide).guide == guide


@pytest.mark.parametrize(
    ("settings", "preset", "sentence"),
    [
        ("nag_tau=3", QUALITY, "nag_tau needs nag_scale, for example nag_scale=5."),
        ("magcache_start=0.2", QUALITY, "magcache_start needs magcache, for example magcache=1.75."),
        ("magcache=2 steps=60", QUALITY, "MagCache is for at most 50 steps, not 60."),
        ("refiner_certain=0.9", QUALITY, "refiner_certain needs the self-refiner: set refiner_norm=1."),
        ("skip_layers_start=0.2", QUALITY, "skip_layers_start needs skip_layers, for example skip_layers=9."),
        ("skip_layers=40", QUALITY, "This model has the blocks 0 to 39: there is no block 40 to skip."),
        ("skip_layers=9 guidance=3", DEMO, "This model has the blocks 0 to 7: there is no block 9 to skip."),
        ("guidance3=2", QUALITY, "This film has 2 phases: guidance3 is for a third one, which switch2 begins."),
        ("switch=400 switch2=500", QUALITY, "Noise falls, so switch2 lies under switch: 500 does not lie under 400."),
        ("solver=causvid shift=3", QUALITY, "The levels of causvid are fixed: shift does nothing there."),
        ("solver=lcm steps=9", QUALITY, "lcm takes 1 to 8 steps, not 9."),
        ("zero_steps=8", DEMO, "zero_steps leaves nothing to do: 8 of 8 steps."),
        ("denoising_strength=0.5", QUALITY, "denoising_strength is for a film that follows a video: give one with "
                                            "--guide."),
        ("guidance_rule=apg", LIGHTNING_4, "guidance_rule apg changes what the negative prompt does, which this film "
                                           "does without: set guidance above 1."),
        ("skip_layers=3", DEMO, "skip_layers changes what the negative prompt does, which this film does without: set "
                                "guidance above 1."),
        ("negative=blurry", DEMO, "negative changes what the negative prompt does, which this film does without: set "
                                  "guidance or nag_scale above 1."),
    ],
)  # fmt: skip
def test_nothing_is_set_in_vain(settings: str, preset: Preset, sentence: str) -> None:
    assert refused(settings, preset) == sentence


def test_frames_are_discarded_by_a_new_film_and_by_what_goes_on_with_it_alone() -> None:
    take = take_of(tuned("discard_frames=4"))
    other = request("", tuning=Tuning(discard_frames=8))
    with pytest.raises(UserError, match=r"^discard_frames is for a new film.*this one has 4\.$"):
        directed(other, Context(replied=take), kind=IntentKind.ANOTHER_TAKE)
    assert (
        filmed(directed(request("now he swims"), Context(replied=take), kind=IntentKind.CONTINUE)).discard_frames == 4
    )


def test_the_demonstration_model_is_guided_with_a_word_of_warning() -> None:
    direction = plan_of(STORY, preset=DEMO, tuning=Tuning(guidance=3))
    assert filmed(direction).sampling.phases[0].guidance == 3
    assert any("trained without a negative prompt" in note for note in direction.notes)
    assert not any("negative prompt" in note for note in plan_of(STORY, preset=DEMO).notes)


# ---- who comes first, and where it holds ----


def test_an_option_comes_before_words_and_words_before_the_preset() -> None:
    worded = f"{STORY}, with 20 steps, more motion"
    plan = filmed(plan_of(worded))
    assert (plan.sampling.steps, plan.sampling.motion_amplitude) == (20, 1.15)
    plan = filmed(plan_of(worded, tuning=Tuning(steps=12, motion_amplitude=1.3)))
    assert (plan.sampling.steps, plan.sampling.motion_amplitude) == (12, 1.3)
    assert (
        "Set: more movement, steps=12 motion_amplitude=1.3."
        in plan_of(worded, tuning=Tuning(steps=12, motion_amplitude=1.3)).notes
    )


def test_what_was_set_holds_while_the_draft_is_changed() -> None:
    first = request(STORY, 1, tuning=Tuning(magcache=2.0, grain=0.2))
    draft = draft_of(directed(first, Context()), first)
    changed = filmed(directed(request("make it best quality, 720p"), Context(draft=draft)))
    assert changed.sampling.magcache
    assert changed.sampling.magcache.speed == 2
    assert changed.finish.grain == 0.2


def test_another_take_may_be_filmed_with_other_numbers() -> None:
    take = take_of(tuned(""))
    plan = filmed(
        directed(request("", tuning=Tuning(motion_amplitude=1.2)), Context(replied=take), kind=IntentKind.ANOTHER_TAKE)
    )
    assert plan.sampling.motion_amplitude == 1.2
    assert plan.storyboard == take.plan.storyboard


def test_what_continues_a_film_keeps_its_look_unless_another_one_is_asked_for() -> None:
    take = take_of(tuned("interpolation=2 grain=0.2 color_correction=0.5"))
    plain = filmed(directed(request("now he swims"), Context(replied=take), kind=IntentKind.CONTINUE))
    assert (plain.finish, plain.color_correction) == (take.plan.finish, 0.5)
    asked = request("now he swims", tuning=Tuning(interpolation=4, color_correction=0))
    plan = filmed(directed(asked, Context(replied=take), kind=IntentKind.CONTINUE))
    assert (plan.finish.interpolation, plan.finish.grain, plan.color_correction) == (4, 0.2, 0)


# ---- anchors, one a window ----


def anchored(text: str, pictures: int, anchors: int, **more: object) -> Plan:
    images = tuple(picture(number) for number in range(1, pictures + 1))
    told = Request(text=text, channel="c", requester="r", images=images, anchors=anchors, seconds=14.5)
    return filmed(directed(told, Context(**more)))


def test_anchors_stand_one_a_window_behind_the_start_picture_and_the_last_one_holds_on() -> None:
    plan = anchored(STORY, pictures=2, anchors=1)
    assert plan.source.image == picture(1).media
    assert [window.anchor for window in plan.windows] == [None, picture(2).media, None]


def test_without_a_start_picture_the_first_anchor_starts_the_film() -> None:
    plan = anchored(STORY, pictures=2, anchors=2)
    assert plan.source.image == picture(1).media
    assert [window.anchor for window in plan.windows] == [None, picture(2).media, None]


def test_anchors_of_a_continuation_begin_with_its_first_window() -> None:
    take = take_of(tuned(""))
    plan = anchored("continue, he swims", pictures=2, anchors=2, replied=take)
    assert [window.anchor for window in plan.windows] == [picture(1).media, picture(2).media, None, None][
        : len(plan.windows)
    ]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_model_knows_its_blocks(preset: Preset) -> None:
    assert "there is no block 40 to skip" in refused("skip_layers=40 guidance=4 guidance2=4", preset)
