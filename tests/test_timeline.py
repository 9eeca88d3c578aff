"""Window arithmetic. The vectors are those of Wan2GP's svi2pro, as far as whole windows go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.timeline import (
    DROPPED_FRAMES,
    FPS,
    NEW_FRAMES,
    WINDOW_FRAMES,
    WINDOW_SECONDS,
    continuation_windows_for,
    film_frames,
    film_seconds,
    film_time,
    latent_frames,
    shown_seconds,
    stride_seconds,
    window_at,
    window_seconds,
    windows_for,
)

windows = st.integers(1, 500)
discards = st.sampled_from([0, 4, 8, 12, 16, 20])


@pytest.mark.parametrize(("count", "frames"), [(1, 81), (2, 157), (3, 233), (4, 309), (5, 385)])
def test_frames_of_a_film(count, frames):
    assert film_frames(count) == frames
    assert film_seconds(count) == frames / 16


def test_a_window_is_81_frames_and_starts_4_75_seconds_after_the_one_before():
    assert (WINDOW_FRAMES, NEW_FRAMES, DROPPED_FRAMES) == (81, 76, 5)
    assert (WINDOW_SECONDS, stride_seconds()) == (5.0625, 4.75)


@given(head=windows, more=windows)
def test_a_continuation_adds_76_frames_a_window(head, more):
    assert film_frames(head + more) == film_frames(head) + 76 * more


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (9, 3), (77, 20), (81, 21)])
def test_latent_frames_are_the_first_frame_and_then_fours(frames, latents):
    assert latent_frames(frames) == latents


@pytest.mark.parametrize("frames", [0, -3, 2, 4, 80, 82])
def test_a_count_that_no_latent_frames_decode_to_is_refused(frames):
    with pytest.raises(ValueError, match=f"4n \\+ 1, got {frames}"):
        latent_frames(frames)


@pytest.mark.parametrize(
    ("time", "place"), [(0.0, (1, 0.0)), (5.0, (1, 5.0)), (5.0625, (2, 0.3125)), (8.0, (2, 3.25)), (10.0, (3, 0.5))]
)
def test_where_a_second_of_the_film_is_shown(time, place):
    assert window_at(time) == place


def test_three_seconds_into_window_two_is_7_75_seconds_of_the_film():
    assert film_time(2, 3) == 7.75


@given(count=windows, discarded=discards, data=st.data())
def test_every_frame_is_shown_once_and_by_the_window_that_made_it(count, discarded, data):
    """Frame f of window k is frame f + 76 (k - 1) of the film, and the first five of a later window never show.
    Discarded ones neither, and each window then follows the sooner."""
    frame = data.draw(st.integers(0, film_frames(count, discarded) - 1))
    window, seconds = window_at(frame / FPS, discarded)
    own_frame = seconds * FPS
    assert own_frame + (NEW_FRAMES - discarded) * (window - 1) == frame
    assert 1 <= window <= count
    assert (DROPPED_FRAMES if window > 1 else 0) <= own_frame < WINDOW_FRAMES - discarded


@given(count=windows, discarded=discards)
def test_each_window_shows_as_many_frames_as_it_is_said_to(count, discarded):
    before = film_frames(count - 1, discarded) if count > 1 else 0
    shown = [window_at(frame / FPS, discarded)[0] for frame in range(before, film_frames(count, discarded))]
    assert shown == [count] * ((NEW_FRAMES if count > 1 else WINDOW_FRAMES) - discarded)
    assert shown_seconds(count, discarded) == (before / FPS, film_seconds(count, discarded))
    assert film_time(count, window_seconds(discarded), discarded) == film_seconds(count, discarded)


@given(time=st.floats(0, 2000), discarded=discards)
def test_film_time_undoes_window_at(time, discarded):
    assert film_time(*window_at(time, discarded), discarded) == pytest.approx(time, abs=1e-9)


def test_a_window_that_discards_four_frames_gives_77_and_each_later_one_72():
    """The source's vector: 157 frames asked for come out as 153 there, 77 + 72 and a short third window of 4."""
    assert [film_frames(count, 4) for count in (1, 2, 3)] == [77, 77 + 72, 77 + 72 + 72]
    assert windows_for(157 / FPS, 4) == 2
    assert film_time(2, 3, 4) == 7.5


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        (0.1, 1),
        (5, 1),
        (5.0625, 1),
        (5.5625, 1),
        (5.57, 2),
        (9.8125, 2),
        (10, 2),
        (14.5625, 3),
        (15, 3),
        (20, 4),
        (60, 12),
    ],
)
def test_windows_for_a_length(seconds, count):
    assert windows_for(seconds) == count


@pytest.mark.parametrize(("seconds", "count"), [(0.1, 1), (4.75, 1), (5, 1), (5.26, 2), (9.5, 2), (10, 2), (15, 3)])
def test_windows_for_a_length_to_add(seconds, count):
    assert continuation_windows_for(seconds) == count


@given(count=windows, discarded=discards)
def test_asking_for_just_what_n_windows_show_gives_n_windows_or_fewer_within_tolerance(count, discarded):
    assert windows_for(film_seconds(count, discarded), discarded) <= count
    assert continuation_windows_for(stride_seconds(discarded) * count, discarded) <= count


@given(seconds=st.floats(0.01, 2000), discarded=discards)
def test_the_fewest_windows_that_fall_short_by_no_more_than_is_allowed(seconds, discarded):
    enough = seconds - max(0.5, 0.05 * seconds)
    count, more = windows_for(seconds, discarded), continuation_windows_for(seconds, discarded)
    assert film_seconds(count, discarded) >= enough - 1e-9
    assert count == 1 or film_seconds(count - 1, discarded) < enough
    assert stride_seconds(discarded) * more >= enough - 1e-9
    assert more == 1 or stride_seconds(discarded) * (more - 1) < enough


# ---- the source's own count, which is not ours ----------------------------------------------------------------------


def wan2gp_frames(requested: int) -> int:
    """What Wan2GP films for a requested number of frames: it books 77 frames for a window that shows 76."""
    requested = 4 * ((requested - 1) // 4) + 1
    frames, remaining = min(requested, WINDOW_FRAMES), requested - WINDOW_FRAMES
    while remaining >= 4:
        window = min(WINDOW_FRAMES, 4 * ((remaining + 4) // 4) + 1)
        frames += window - DROPPED_FRAMES
        remaining -= window - 4
    return frames


SOURCE_COUNTS = {
    81: 81,
    85: 85,
    157: 157,
    161: 157,
    233: 229,
    237: 233,
    240: 233,
    241: 237,
    309: 305,
    313: 309,
    385: 381,
}


@pytest.mark.parametrize(("requested", "filmed"), SOURCE_COUNTS.items())
def test_where_the_sources_last_window_is_whole_our_film_is_as_long(requested: int, filmed: int):
    """It comes out a frame short for every continuation, or ends in a window of a few frames; ours is whole windows."""
    assert wan2gp_frames(requested) == filmed
    ours = film_frames(windows_for(requested / FPS))
    assert (ours - WINDOW_FRAMES) % NEW_FRAMES == 0
    if (filmed - WINDOW_FRAMES) % NEW_FRAMES == 0:
        assert ours == filmed
    assert ours >= requested - max(0.5, 0.05 * requested / FPS) * FPS
