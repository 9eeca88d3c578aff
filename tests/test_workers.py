from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clock import Clock

from storage.database import Database
from storage.workers import Workers


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def test_a_worker_lives_until_its_lease_ends_or_it_signs_out(tmp_path: Path, clock: Clock):
    with Database.open(tmp_path / "db") as database:
        workers = Workers(database, clock)
        workers.sign_in("a", lease_seconds=10)
        workers.sign_in("b", lease_seconds=20)
        assert workers.alive() == ["a", "b"]
        clock.seconds += 15
        assert workers.alive() == ["b"]
        workers.sign_in("a", lease_seconds=10)
        workers.sign_out("b")
        assert workers.alive() == ["a"]


def test_nobody_signs_in_alone_beside_a_living_worker(tmp_path: Path, clock: Clock):
    with Database.open(tmp_path / "db") as database:
        workers = Workers(database, clock)
        workers.sign_in("a", lease_seconds=10)
        assert not workers.sign_in_alone("b", lease_seconds=10)
        clock.seconds += 11
        assert workers.sign_in_alone("b", lease_seconds=10)
        assert workers.alive() == ["b"]


def test_of_many_that_sign_in_alone_at_once_one_does(tmp_path: Path):
    path = tmp_path / "db"

    def try_alone(number: int) -> bool:
        with Database.open(path) as database:
            return Workers(database).sign_in_alone(f"worker {number}", lease_seconds=60)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_alone, range(16))) == 1
