"""The library's TCP links, with its messages made safe where it takes too much for granted."""

from typing import Any

from pysyncobj.node import TCPNode
from pysyncobj.transport import TCPTransport


class Transport(TCPTransport):  # type: ignore[misc]  # the library has no types
    """Runs in the raft thread. What the links carry is seen here on its way in and out."""

    _checked: int | None = None
    """While a message is handled that holds nothing new: the index up to which it agrees with the log."""

    def send(self, node: TCPNode, message: dict[str, Any]) -> Any:
        if message["type"] == "next_node_idx":
            message["term"] = self._syncObj.raftCurrentTerm
            if self._checked is not None and message["success"]:
                message["next_node_idx"] = self._checked + 1
        return super().send(node, message)

    def _onMessageReceived(self, node: TCPNode, message: dict[str, Any]) -> None:
        core = self._syncObj
        # An acknowledgement of an earlier leadership says nothing about entries of this one.
        if message["type"] == "next_node_idx" and message.get("term") != core.raftCurrentTerm:
            return
        if message["type"] == "append_entries" and message["term"] >= core.raftCurrentTerm:
            core.heard(message["commit_index"])
            if "serialized" in message:
                # The library would commit its own, unchecked log up to the index that comes with a piece of a snapshot.
                message["commit_index"] = 0
            elif "transmission" not in message:
                self._keep_what_agrees(message)
        try:
            super()._onMessageReceived(node, message)
        finally:
            self._checked = None

    def _keep_what_agrees(self, message: dict[str, Any]) -> None:
        """Pass over the entries that the log has already (Raft paper, figure 2, AppendEntries 3 and 4).

        The library cuts off everything behind `prevLogIdx` before it looks: a repeated message, and it repeats many,
        would take entries away that were acknowledged, and a kill at that moment would lose them.
        """
        log_entries, previous, entries = self._syncObj._SyncObj__getEntries, message["prevLogIdx"], message["entries"]
        before = log_entries(previous, 1)
        if not before or before[0][2] != message["prevLogTerm"]:
            return  # will be rejected
        agreed = 0
        for own, told in zip(log_entries(previous + 1, len(entries)), entries, strict=False):
            if own[2] != told[2]:
                break
            agreed += 1
        if agreed < len(entries):
            if agreed:
                message["prevLogIdx"], message["prevLogTerm"] = entries[agreed - 1][1:]
                message["entries"] = entries[agreed:]
            return
        # Nothing new: leave the log as it is, but vouch for and commit no more of it than the leader spoke of.
        self._checked = previous + agreed
        last = self._syncObj._SyncObj__raftLog[-1]
        message["prevLogIdx"], message["prevLogTerm"], message["entries"] = last[1], last[2], []
        message["commit_index"] = min(message["commit_index"], self._checked)

    def _onIncomingMessageReceived(self, conn: Any, message: Any) -> None:
        before = dict(self._connections)
        super()._onIncomingMessageReceived(conn, message)
        for node, old in before.items():
            if self._connections.get(node) is not old:
                old.disconnect()  # superseded by a new link of the same node, else it stays open

    def _connectIfNecessarySingle(self, node: TCPNode) -> Any:
        connecting = super()._connectIfNecessarySingle(node)
        if connecting is False and node in self._connections:
            self._connections[node].disconnect()  # an attempt that fails at once leaves its socket open
        return connecting
