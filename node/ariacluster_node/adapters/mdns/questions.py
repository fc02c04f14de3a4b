"""Questions that name no answer known already (RFC 6762 section 7.1): whoever is asked answers, though it did before."""

from zeroconf._dns import DNSQuestion
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_A, _TYPE_AAAA, _TYPE_PTR, _TYPE_SRV

from .announcement import SERVICE, entry_name, host


def everybody() -> DNSOutgoing:
    """Who is there?"""
    return _asking((SERVICE, _TYPE_PTR))


def namesakes(node_id: str) -> DNSOutgoing:
    """Who bears this id? A twin's entry may be the same as ours but for the address."""
    return _asking((entry_name(node_id), _TYPE_SRV), (host(node_id), _TYPE_A), (host(node_id), _TYPE_AAAA))


def _asking(*questions: tuple[str, int]) -> DNSOutgoing:
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    for name, kind in questions:
        out.add_question(DNSQuestion(name, kind, _CLASS_IN))
    return out
