"""What was heard by multicast, judged: do the interfaces carry it, who is there, who is there twice, who hears us."""

import ipaddress
from collections.abc import Collection, Iterable

from ariacluster.domain.formation import Heard
from ariacluster.domain.member import at

from .finding import Finding, names, ok, problem, warning
from .multicast import ROUNDS, Hearing, Sign

CHECK = "multicast"
IDS = "node ids"

_FIREWALL = "Let UDP port 5353 through the firewall (ufw allow 5353/udp, or firewall-cmd --add-service=mdns)"


def judge_interfaces(hearing: Hearing) -> list[Finding]:
    """An interface takes multicast if one of its addresses does: where IPv4 works, nobody needs IPv6."""
    if hearing.wrong or not hearing.voices:
        reason = hearing.wrong or "no interface that is up has an address for it"
        return [problem(CHECK, f"Multicast does not work here: {reason}.", "Plug in a network, or correct --bind.")]
    works = {voice.name for voice in hearing.voices if voice.echo}
    found = []
    if works:
        spoken = [f"{v.name} ({v.address})" for v in hearing.voices if v.echo]
        found.append(ok(CHECK, f"What is sent on {names(spoken)} comes back."))
    for name in dict.fromkeys(voice.name for voice in hearing.voices if voice.name not in works):
        wrong = next((voice.wrong for voice in hearing.voices if voice.name == name and voice.wrong), "")
        reason = wrong or "what was sent did not come back"
        say = warning if works else problem
        found.append(
            say(
                CHECK,
                f"Interface {name} does not take multicast: {reason}.",
                f"{_FIREWALL}, or name other nodes with --join.",
            )
        )
    return found


def judge_heard(hearing: Hearing, cluster: str, own_id: str) -> list[Finding]:
    """Who speaks to the group, as a node would hear it; `own_id` is left out."""
    others = heard((sign for sign in hearing.signs if not sign.to_us), own_id)
    if not others and not any(voice.echo for voice in hearing.voices):
        return []  # no wonder, and said already
    mine = [h.node_name for h in others if h.cluster_name == cluster]
    foreign = [f"{h.node_name} (cluster {h.cluster_name!r})" for h in others if h.cluster_name != cluster]
    if mine:
        beside = f"; of other clusters {names(foreign)}" if foreign else ""
        return [ok(CHECK, f"Heard of the cluster {cluster!r}: {names(mine)}{beside}.")]
    if foreign:
        return [
            warning(
                CHECK,
                f"Nobody else of the cluster {cluster!r} is heard, only {names(foreign)}.",
                "To be in one cluster, start all nodes with the same --cluster.",
            )
        ]
    return [
        warning(
            CHECK,
            "Nobody else is heard on this LAN. That is well if there is no other node.",
            f"{_FIREWALL} on both sides, switch off the client isolation of the access point, and "
            "across VLANs or container bridges start with --join HOST.",
        )
    ]


def judge_ids(signs: Iterable[Sign], own_id: str, own_addresses: Collection[str], runs_here: bool) -> list[Finding]:
    """Every id has to be one node's. One node announces one port, and all of its addresses or, cut short, some of them.

    `own_id` is that of the data folder here, `runs_here` whether its node runs.
    """
    voices: dict[str, list[Sign]] = {}
    for sign in signs:
        known = voices.setdefault(sign.heard.node_id, [])
        if not any(_same_node(sign, other) for other in known):
            known.append(sign)
    found = []
    for node_id, different in voices.items():
        doors = sorted({at(sign.heard.address, sign.heard.port) for sign in different})
        elsewhere = node_id == own_id and not runs_here and not any(s.addresses & set(own_addresses) for s in different)
        if len(different) > 1:
            who = f"Two nodes announce the id {node_id}, at {names(doors)}"
        elif elsewhere:
            who = (
                f"A node at {names(doors)} announces the id {node_id}, which the data folder of this machine bears too"
            )
        else:
            continue
        found.append(
            problem(
                IDS,
                f"{who}: a data folder was copied.",
                "Stop one of the two, and start it with an empty data folder: each needs its own id.",
            )
        )
    return found


def _same_node(one: Sign, other: Sign) -> bool:
    return one.heard.port == other.heard.port and (one.addresses <= other.addresses or other.addresses <= one.addresses)


def heard(signs: Iterable[Sign], own_id: str) -> list[Heard]:
    """The others, the latest word of each, by name."""
    latest = {sign.heard.node_id: sign.heard for sign in signs if sign.heard.node_id != own_id}
    return sorted(latest.values(), key=lambda h: (h.node_name, h.node_id))


def judge_both_ways(hearing: Hearing, answering: Collection[tuple[str, str, str]]) -> list[Finding]:
    """Does it go both ways? Asked of each node (id, name, address) whose API answers: whatever is lost is multicast's fault.

    Nodes on other networks are left out, for multicast ends at a router.
    """
    if not any(voice.echo for voice in hearing.voices):
        return []
    found, good = [], []
    for node_id, name, address in answering:
        own = [sign for sign in hearing.signs if sign.heard.node_id == node_id]
        if not own and not _on_our_networks(address, hearing):
            continue
        comes_here = any(not sign.to_us for sign in own)
        # Our firewall may keep back what is sent to us alone; who speaks to the group whenever we ask has heard us, too.
        goes_there = any(sign.to_us for sign in own) or {s.round for s in own if not s.to_us} == set(range(ROUNDS))
        if comes_here and goes_there:
            good.append(name)
        elif goes_there:
            found.append(
                warning(
                    CHECK,
                    f"This machine does not hear {name}, though {name} hears this machine.",
                    f"{_FIREWALL} here, and look at IGMP snooping on the switch between them.",
                )
            )
        elif comes_here:
            found.append(
                warning(
                    CHECK,
                    f"{name} does not hear this machine: it is heard, and answers no question.",
                    f"{_FIREWALL} on {name}, and look at IGMP snooping on the switch between them.",
                )
            )
        else:
            found.append(
                warning(
                    CHECK,
                    f"Between this machine and {name} multicast goes neither way, though its API answers.",
                    f"{_FIREWALL} on both, switch off the isolation of the access point, or go on with --join; if {name} "
                    "runs with --no-mdns, that is why.",
                )
            )
    if good:
        found.insert(0, ok(CHECK, f"Multicast goes both ways between this machine and {names(good)}."))
    return found


def _on_our_networks(address: str, hearing: Hearing) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(ip in i.address.network for i in hearing.here)
