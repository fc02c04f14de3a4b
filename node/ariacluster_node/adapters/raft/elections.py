"""Who leads: pre-votes, votes, stickiness, handing over, and until when a leader is sure of it.

The private parts of the library are written as our own here: see `members`.
"""

from pysyncobj.node import Node
from pysyncobj.syncobj import _RAFT_STATE

from .configurations import majority
from .host import Given, Inconsistent
from .library import now
from .members import Members
from .wire.messages import AskVote, LeadNow, Vote


class _SyncObj(Members):
    """Elections."""

    def __init__(self, given: Given) -> None:
        self._votes: set[str] = set()
        self._pre_votes: set[str] | None = None
        self._won_pre_vote = False
        self._transfer_term = 0
        """The term in which this node may ask for votes although a leader is there: that leader wants it."""
        self._heard = now()  # what was promised to a leader before a restart is not known any more: assume the longest
        self._given_up: float | None = None
        """When this leader gave its lease up, to be succeeded."""
        self.lease_until = 0.0
        """On the library's clock; may be read from any thread."""
        super().__init__(given)

    def __generateRaftTimeout(self) -> float:
        low, high = self._timing.election_s
        return low + (high - low) * self._dice()

    def __connectedToAnyone(self) -> bool:
        """Asked when the election timeout has passed: may this node become a candidate?

        Only one that may be needed, and only after a majority has said that it would vote (§9.6): a node that was cut
        off neither raises its term again and again nor deposes a healthy leader when it comes back.
        """
        voters, may_lead = self._configurations.latest.voters, self._may_lead()
        if voters == (self._me,) or (may_lead and (self._won_pre_vote or self.__transferInProgress)):
            self._won_pre_vote = False
            self._pre_votes = None
            return True
        # Asking costs nobody anything, and who still thought that there is a leader may think otherwise soon.
        self.__raftElectionDeadline = now() + self.__generateRaftTimeout() / 3
        self._leader_gone()
        if may_lead:
            self.__setState(_RAFT_STATE.FOLLOWER)
            self._pre_votes = {self._me}
            for node in self._peers:
                if node in self.__otherNodes:
                    self._links.send(node.id, self._ask_vote(pre=True))
        return False

    def _may_lead(self) -> bool:
        """A voter may, and one that a change not yet known as committed takes out: if nobody else who is left has that
        change, nobody else can be elected (§4.2.2). Its own vote does not count then.
        """
        return any(self._me in voters for voters in self._configurations.since(self.__raftCommitIndex))

    def _ask_vote(self, *, pre: bool) -> AskVote:
        _, last, last_term = self.__raftLog[-1]
        term = self.__raftCurrentTerm + 1 if pre else self.__raftCurrentTerm
        return AskVote(term, last, last_term, pre, not pre and term == self._transfer_term)

    def _on_ask_vote(self, node: Node, asked: AskVote) -> None:
        sticky = self._isLeader() or now() - self._heard < self._timing.election_s[0]
        if (sticky and not asked.transfer) or asked.term < self.__raftCurrentTerm:
            # §4.2.3: whoever hears a leader neither votes nor takes over the term.
            self._links.send(node.id, Vote(self.__raftCurrentTerm, False, asked.pre))
            return
        _, last, last_term = self.__raftLog[-1]
        complete = (asked.last_term, asked.last) >= (last_term, last)  # §5.4.1
        if asked.pre:
            granted = complete and asked.term > self.__raftCurrentTerm
            self._links.send(node.id, Vote(asked.term if granted else self.__raftCurrentTerm, granted, True))
            return
        if asked.term > self.__raftCurrentTerm:
            self._step_down(asked.term)
        granted = complete and not self._isLeader() and self.__votedForNodeId in (None, node.id)
        if granted:
            if self.__votedForNodeId is None:
                self.__setCurrentTerm(self.__raftCurrentTerm, node.id)  # on disk when it returns
            self.__raftElectionDeadline = now() + self.__generateRaftTimeout()
        self._links.send(node.id, Vote(self.__raftCurrentTerm, granted))

    def _on_vote(self, node: Node, vote: Vote) -> None:
        if not vote.granted:
            if vote.term > self.__raftCurrentTerm:
                self._step_down(vote.term)
            return
        if vote.pre:
            if self._pre_votes is not None and vote.term == self.__raftCurrentTerm + 1 and not self._isLeader():
                self._pre_votes.add(node.id)
                if self._enough(self._pre_votes):
                    self._won_pre_vote = True
                    self.__raftElectionDeadline = 0
        elif self.__raftState == _RAFT_STATE.CANDIDATE and vote.term == self.__raftCurrentTerm:
            self._votes.add(node.id)  # a set: a repeated message is not a second vote
            self._count_votes()

    def _count_votes(self) -> None:
        """A candidate that is the only voter has won with its own."""
        if self.__raftState == _RAFT_STATE.CANDIDATE and self._enough(self._votes):
            self.__onBecomeLeader()

    def _enough(self, votes: set[str]) -> bool:
        voters = self._configurations.latest.voters
        return len(votes.intersection(voters)) >= majority(voters)

    def _on_lead_now(self, node: Node, told: LeadNow) -> None:
        mine = self._me in self._configurations.latest.voters
        if told.term == self.__raftCurrentTerm and node == self.__raftLeader and mine:
            self.__transferInProgress = True
            self._transfer_term = told.term + 1
            self.__raftElectionDeadline = 0

    def __setCurrentTerm(self, term: int, voted_for: str | None) -> None:
        if term < self.__raftCurrentTerm:
            raise Inconsistent(f"the term would go back from {self.__raftCurrentTerm} to {term}")
        self._votes = {self._me} if voted_for == self._me else set()
        self._pre_votes, self._won_pre_vote = None, False
        super().__setCurrentTerm(term, voted_for)

    def __setState(self, state: int) -> None:
        if state != _RAFT_STATE.LEADER and self._isLeader():
            self.lease_until = 0.0
            self._given_up = None
            self.followers = ()
            for progress in self._progress.values():
                progress.stop_sending()
            self._progress.clear()
        super().__setState(state)

    def __onBecomeLeader(self) -> None:
        self._won_pre_vote, self._pre_votes = False, None
        self._progress.clear()
        self.__setState(_RAFT_STATE.LEADER)
        self._track()
        super().__onBecomeLeader()

    def _step_down(self, term: int) -> None:
        """Somebody is in a later term."""
        self.__setCurrentTerm(term, None)
        self.__transferInProgress = False
        self.__setState(_RAFT_STATE.FOLLOWER)
        self._leader_gone()

    def _follow(self, node: Node, term: int) -> bool:
        """A leader of `term` speaks. False if it is one of the past."""
        if term < self.__raftCurrentTerm:
            return False
        if self._isLeader() and term == self.__raftCurrentTerm:
            raise Inconsistent(f"{node.id} leads in term {term}, and so does this node")
        if term > self.__raftCurrentTerm:
            self.__setCurrentTerm(term, None)
            self.__transferInProgress = False
        self.__setState(_RAFT_STATE.FOLLOWER)
        if self.__raftLeader != node:
            self._leader_gone()
            self.__raftLeader = node
            self._want()
        self._pre_votes, self._won_pre_vote = None, False
        self._heard = now()
        if not self.__transferInProgress:
            self.__raftElectionDeadline = self._heard + self.__generateRaftTimeout()
        return True

    def transfer(self, to: str | None = None) -> None:
        """On the leader: ask the voter `to`, or the most advanced one, to take over. Nothing happens while it lacks entries."""
        if not self._isLeader():
            return
        voters = [node for node in self._peers if node in self.__otherNodes and node in self.__connectedNodes]
        voters = [node for node in voters if to in (None, node.id)]
        ahead = max(voters, key=lambda node: (self._progress[node].match, node.id), default=None)
        if ahead is not None and self._progress[ahead].match == self.__raftLog[-1][1]:
            if self._given_up is None:
                self._given_up = now()
            self.lease_until = 0.0  # before it is sent: who is asked will not wait until ours is over
            self.transferLeadership(ahead)

    def _stand_down(self) -> None:
        """Make room for an election: as a leader that gave its lease up and was not succeeded, for it may not take that up
        again in this term, as who was asked may yet be elected; or as one that does not vote, once that is committed.
        """
        late = self._given_up is not None and now() - self._given_up > self._timing.election_s[1]
        if late or (self._isLeader() and not self._may_lead()):
            self.__setState(_RAFT_STATE.FOLLOWER)
            self._leader_gone()
            self.__raftElectionDeadline = now() + self.__generateRaftTimeout()

    def _lease(self) -> float:
        """Until when nobody else can be elected: a majority has promised so when it answered what was sent then."""
        if not self._isLeader() or self._given_up is not None:
            return 0.0
        voters = self._configurations.latest.voters
        needed = majority(voters) - (self._me in voters)
        if not needed:
            return now() + self._timing.lease_s
        others = (progress for node, progress in self._progress.items() if node in self.__otherNodes)
        acknowledged = sorted((progress.acknowledged for progress in others), reverse=True)
        return acknowledged[needed - 1] + self._timing.lease_s if acknowledged[needed - 1] else 0.0


Elections = _SyncObj
