"""Who is away, since when, and when that is for good. Pure; decided by the leader, written in the table, so that it counts on
from leader to leader.

Two clocks (tasks and votes): a silent node loses its tasks after `node_timeout`, see `scheduler`; it stays a member, and its
vote counts, until it is taken off (`node rm`) or was away for `forget_after`.
"""

from collections.abc import Collection, Iterable

from .commands import Command, Miss, Unregister
from .member import NodeView


def decide(
    nodes: Iterable[NodeView], now: int, *, voters: Collection[str], node_timeout: float, forget_after: float
) -> list[Command]:
    """What to write down now (`now` in ms, the others in seconds). At most one member is forgotten at a time, and never so
    that of the voters left more than half are away."""
    views = list(nodes)
    commands: list[Command] = []
    for view in views:
        silent, since = view.silent_for, view.member.missed_since
        if view.online and since:
            commands.append(Miss(view.member.id, 0))
        elif not view.online and not since and silent is not None and silent > node_timeout:
            commands.append(Miss(view.member.id, now - round(silent * 1000)))
    away = {view.member.id for view in views if not view.online}
    for view in sorted(views, key=lambda view: (view.member.missed_since, view.member.id)):
        node, since = view.member.id, view.member.missed_since
        if since and node in away and now - since > forget_after * 1000 and _spared(node, voters, away):
            return [*commands, Unregister(node)]
    return commands


def _spared(node: str, voters: Collection[str], away: Collection[str]) -> bool:
    left = set(voters) - {node}
    return 2 * len(left - set(away)) > len(left)
