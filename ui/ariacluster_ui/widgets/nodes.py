"""Nodes, and the parts of one node's page. What a person orders comes as `act`: `{"verb": …, "id": …}`."""

from ariacluster_ui.assets import Island


class NodeCards(Island, script="node_cards"):
    """All of them, as cards or rows; filter, order and view are in the URL (`show`, `q`, `sort`, `view`)."""


class NodeHero(Island, script="node_hero"):
    """Who one `node` is, how it does, and what can be done with it."""


class NodeTasks(Island, script="node_tasks"):
    """What runs on it; told as `node_tasks`."""
