"""One word to many tasks: every one that fits a filter, a few thousand at a time."""

from itertools import islice

from ariacluster.domain.commands import Cancel, Pause, Refusal, Remove, Resume, Retry
from ariacluster.domain.errors import InvalidInput, NotFound, by_code
from ariacluster.wire.problems import problem_of
from ariacluster.wire.requests import BulkRequest
from ariacluster.wire.resources import BatchItem, BulkResult
from ariacluster.wire.routes import TASK_BULK_VERBS

from .listing import Listing
from .replica import ON_THEIR_WAY, Replica

VERBS: dict[str, type[Pause | Resume | Retry | Cancel | Remove]] = {
    "pause": Pause,
    "resume": Resume,
    "retry": Retry,
    "cancel": Cancel,
    "remove": Remove,
}

AT_ONCE = 4_000
"""Tasks that are spoken to at a time, in some proposals that do not wait for each other."""

TOLD = 100
"""Refusals that are told one by one; all are counted."""


class Bulk:
    """Says a word to many."""

    def __init__(self, replica: Replica, listing: Listing) -> None:
        self._replica = replica
        self._listing = listing

    async def say(self, asked: BulkRequest) -> BulkResult:
        """Committed when this returns. Each task takes it or refuses it for itself; what breaks off in between (no leader) has
        done a part, and may be said again."""
        if asked.verb not in VERBS:
            raise InvalidInput(
                f"There is no verb {asked.verb!r}; there are {', '.join(TASK_BULK_VERBS)}.", field="verb"
            )
        try:
            wanted = self._listing.wanted(asked.matching)
        except NotFound as error:
            raise InvalidInput(error.detail, field="matching.node") from None
        if wanted.plain and not wanted.states:
            raise InvalidInput(
                "Say which tasks, by ids, state, node, tag or q; every task has a state, so naming all states means all.",
                field="matching",
            )
        done: list[str] = []
        refused: list[BatchItem] = []
        refused_count = 0
        left = iter(await self._listing.matching(wanted))
        while chunk := list(islice(left, AT_ONCE)):
            outcomes = await self._replica.propose_many(
                [VERBS[asked.verb](task_id) for task_id in chunk], at_once=ON_THEIR_WAY
            )
            for task_id, outcome in zip(chunk, outcomes, strict=True):
                if not isinstance(outcome, Refusal):
                    done.append(task_id)
                    continue
                refused_count += 1
                if len(refused) < TOLD:
                    refused.append(BatchItem(id=task_id, problem=problem_of(by_code(outcome.code)(outcome.detail))))
        return BulkResult(done_count=len(done), refused_count=refused_count, done=done, refused=refused)
