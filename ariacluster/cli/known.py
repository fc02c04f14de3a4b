"""What a node knows that may be completed: asked with little patience, and nothing where nobody answers."""

import http.client
import json
import os
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from ariacluster.client.locate import locate
from ariacluster.domain.errors import InvalidInput
from ariacluster.wire import routes

PATIENCE = 0.5
"""Seconds for the whole of an answer, the look-up of a name included: who presses a key does not wait."""

MOST = 200
"""Tasks that are offered, the latest: more are no help to anybody."""


class Known:
    """Asks the node that `told`, else the environment, names. A program's start is too short for the client's aiohttp."""

    def __init__(self, told: str | None = None) -> None:
        self._told = told

    def nodes(self) -> list[dict[str, Any]]:
        return self._list(routes.NODES)

    def tasks(self, states: Sequence[str]) -> list[dict[str, Any]]:
        """The latest in one of these states; in any if there is none."""
        query = {"limit": str(MOST), "sort": "-updated"} | ({"state": ",".join(states)} if states else {})
        return self._list(f"{routes.TASKS}?{urlencode(query)}")

    def others(self) -> list[dict[str, Any]]:
        """Other clusters of the same name."""
        cluster = self._ask(routes.CLUSTER)
        return list(cluster.get("others", [])) if isinstance(cluster, dict) else []

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self._ask(path)
        return answer if isinstance(answer, list) else []

    def _ask(self, path: str) -> Any:
        """The JSON at `path`, None where it cannot be had in time."""
        answers: list[Any] = []

        def ask() -> None:
            try:
                answers.append(_get(locate(self._told, os.environ), path))
            except (OSError, ValueError, http.client.HTTPException, InvalidInput):
                return

        # The system's look-up of a name knows no deadline; a thread that hangs in it ends with the program.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(PATIENCE)
        return answers[0] if answers else None


def _get(url: str, path: str) -> Any:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path + path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    finally:
        connection.close()
