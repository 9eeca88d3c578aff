"""What may be filmed: a plan as it is proposed, and the draft that it is while it is discussed."""

from dataclasses import dataclass

from planner.director import Direction
from planner.intent import Context
from storage.schema import Draft, Errand, IntentKind, Plan, Request


@dataclass(frozen=True)
class Proposal:
    """A plan that may be submitted, and what the person should know about it."""

    draft: Draft
    errand: Errand
    notes: tuple[str, ...]

    @property
    def plan(self) -> Plan:
        """What would be filmed."""
        return self.draft.plan


def draft_of(direction: Direction, request: Request, context: Context) -> Draft:
    """A direction as what is discussed. It stands where its film will stand: behind its parent, or beside a take."""
    assert direction.plan is not None
    intent, take = direction.intent, context.take
    parent = again_of = None
    restricted, tuning = request.restricted, request.tuning
    if intent.kind is IntentKind.FILM or request.clip:
        pass
    elif context.discussed:
        parent, again_of = context.discussed.parent, context.discussed.again_of
        restricted |= context.discussed.request.restricted
        tuning = tuning.over(context.discussed.request.tuning)
    elif take:
        parent = take.id if intent.kind is IntentKind.CONTINUE else take.errand.parent
        again_of = take.id if intent.kind is IntentKind.ANOTHER_TAKE else None
        restricted |= take.errand.restricted
    told = request.model_copy(
        update={"images": direction.images, "anchors": 0, "restricted": restricted, "tuning": tuning}
    )
    return Draft(request=told, plan=direction.plan, parent=parent, again_of=again_of)
