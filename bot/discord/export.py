"""Everything that is stored of a person, as a value that becomes JSON."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.studio import Studio

ALL = timedelta(days=36500)


def export_of(studio: Studio, person: str) -> dict[str, Any]:
    """Defaults, requests with their plans, and takes. Pictures and films are named by their files' SHA-256."""
    cards, now = studio.cards.of(person), datetime.now(UTC)
    takes = studio.takes.made_for(person, now - ALL)
    jobs = studio.jobs.of(person)
    return {
        "person": person,
        "exported": now.isoformat(timespec="seconds"),
        "defaults": studio.manners.person(person).model_dump(mode="json"),
        "keeps": studio.takes.pinned_by(person),
        "requests": [card.model_dump(mode="json") for card in cards],
        "jobs": [job.model_dump(mode="json", exclude={"worker"}) for job in jobs],
        "takes": [
            {
                "number": take.id,
                "created": take.created.isoformat(timespec="seconds"),
                "job": take.job,
                "film": take.film.model_dump(mode="json"),
                "messages": studio.takes.messages(take.id),
                "continued_by": [child.id for child in studio.takes.children(take)],
            }
            for take in takes
        ],
    }
