"""What is asked of the core: commands, changes of the voters, fresh reads; forwarded to the leader by those who follow.

The private parts of the library are written as our own here: see `members`.
"""

from collections.abc import Collection
from functools import partial
from typing import Any

from pysyncobj import FAIL_REASON
from pysyncobj.node import Node
from pysyncobj.syncobj import _COMMAND_TYPE

from . import configurations
from .following import Following
from .host import Given, Outcome
from .library import now
from .members import REGULAR
from .wire.messages import AskIndex, Forward, Forwarded, LeadNow, ReadIndex

_OUTCOMES = {
    FAIL_REASON.SUCCESS: Outcome.DONE,
    FAIL_REASON.QUEUE_FULL: Outcome.FULL,
    FAIL_REASON.MISSING_LEADER: Outcome.NOT_TAKEN,
    FAIL_REASON.NOT_LEADER: Outcome.NOT_TAKEN,
    FAIL_REASON.DISCARDED: Outcome.NOT_TAKEN,  # another entry was committed where it stood
    FAIL_REASON.REQUEST_DENIED: Outcome.REFUSED,
}
"""All others: nobody can tell."""


class _SyncObj(Following):
    """Requests and their outcomes."""

    def __init__(self, given: Given) -> None:
        self._reads: list[tuple[int, Any]] = []
        """Reads that wait until an index is applied."""
        super().__init__(given)
        # The library counts from 0 after a restart: a late answer to the dead process would settle another command.
        self.__commandsLocalCounter = int(given.dice() * 2**48)

    def submit(self, payload: bytes, token: Any) -> None:
        """Propose `payload`; `settle(token, …)` follows, unless the leader is never heard of again."""
        self._applyCommand(payload, partial(self._settled, token), _COMMAND_TYPE.REGULAR)

    def change(self, voters: Collection[str], token: Any) -> None:
        """On the leader: let these vote from now on. One node more or less than now."""
        command = configurations.encode(voters)
        if self._isLeader():
            self._applyCommand(command, partial(self._settled, token), _COMMAND_TYPE.MEMBERSHIP)
        else:
            self._host.settle(token, Outcome.NOT_TAKEN, None)

    def read(self, token: Any) -> None:
        """Settle once everything is applied here that was committed anywhere before this call (§6.4)."""
        if self._isLeader():
            index = self._safe_index()
            if index:
                self._reads.append((index, token))
            else:
                self._host.settle(token, Outcome.NOT_TAKEN, None)
            return
        request = self._number()
        if self.__raftLeader is not None and self._links.send(self.__raftLeader.id, AskIndex(request)):
            self._asked[request] = token
        else:
            self._host.settle(token, Outcome.NOT_TAKEN, None)

    def _settled(self, token: Any, _: Any, reason: int) -> None:
        outcome = _OUTCOMES.get(reason, Outcome.UNKNOWN)
        self._host.settle(token, outcome, self._refusal if outcome is Outcome.REFUSED else None)

    def _say(self, node: Node, message: dict[str, Any]) -> None:
        match message["type"]:
            case "request_vote":
                self._links.send(node.id, self._ask_vote(pre=False))
            case "timeout_now":
                self._links.send(node.id, LeadNow(message["term"]))
            case "apply_command":
                request = message["request_id"]
                if not self._links.send(node.id, Forward(request, message["command"])):
                    self.__commandsWaitingReply.pop(request)(None, FAIL_REASON.NOT_LEADER)
            case "apply_command_response":
                request, error = message["request_id"], message.get("error", 0)
                answer = Forwarded(request, message.get("log_idx", 0), message.get("log_term", 0), error)
                self._links.send(node.id, answer)

    def _on_forward(self, node: Node, told: Forward) -> None:
        # Who votes is the leader's own business; and what it does not understand it could not apply.
        if told.command[:1] != REGULAR or not self._host.admits(told.command[1:]):
            self._links.send(node.id, Forwarded(told.request, error=FAIL_REASON.REQUEST_DENIED))
            return
        super().__onMessageReceived(
            node, {"type": "apply_command", "command": told.command, "request_id": told.request}
        )

    def _on_forwarded(self, node: Node, told: Forwarded) -> None:
        message = {"type": "apply_command_response", "request_id": told.request}
        if told.index:
            message |= {"log_idx": told.index, "log_term": told.term}
        else:
            message |= {"error": told.error or FAIL_REASON.UNKNOWN_OUTCOME}
        super().__onMessageReceived(node, message)

    def _number(self) -> int:
        self.__commandsLocalCounter += 1
        return int(self.__commandsLocalCounter)

    def _safe_index(self) -> int:
        """What a fresh read has to wait for; 0 while this leader cannot be sure that it leads (§6.4)."""
        sure = self._isLeader() and now() < self._lease() and self.__raftCommitIndex >= self.__noopIDx
        return int(self.__raftCommitIndex) if sure else 0

    def _on_ask_index(self, node: Node, asked: AskIndex) -> None:
        self._links.send(node.id, ReadIndex(asked.request, self._safe_index()))

    def _on_read_index(self, node: Node, told: ReadIndex) -> None:
        token = self._asked.pop(told.request, None)
        if token is None:
            return
        if told.index:
            self._reads.append((told.index, token))
        else:
            self._host.settle(token, Outcome.NOT_TAKEN, None)

    def _answer_reads(self) -> None:
        applied = self.__raftLastApplied
        due = [token for index, token in self._reads if index <= applied]
        if due:
            self._reads = [(index, token) for index, token in self._reads if index > applied]
            for token in due:
                self._host.settle(token, Outcome.DONE, None)


Requests = _SyncObj
