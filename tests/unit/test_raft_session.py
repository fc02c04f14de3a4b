"""The handshake by the letter, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster_node.adapters.raft.wire.session import HANDSHAKE_OVERHEAD_BYTES, Cipher, Handshake, NotAuthentic

KEY = bytes(range(32))

# From the test vectors of cacophony (Haskell), as they are in mcginty/snow, tests/vectors/cacophony.txt, protocol
# Noise_NNpsk0_25519_ChaChaPoly_SHA256: prologue "John Galt", the two ephemeral keys, and per message payload and ciphertext.
PROLOGUE = bytes.fromhex("4a6f686e2047616c74")
PSK = bytes.fromhex("54686973206973206d7920417573747269616e20706572737065637469766521")
INITIATOR_EPHEMERAL = bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
RESPONDER_EPHEMERAL = bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
MESSAGES = [
    (
        "4c756477696720766f6e204d69736573",
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
        "79b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54",
    ),
    (
        "4d757272617920526f746862617264",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
        "d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3",
    ),
    ("462e20412e20486179656b", "e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f"),
    ("4361726c204d656e676572", "64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e"),
    (
        "4a65616e2d426170746973746520536179",
        "e2fa0bed0603b62d3ccac2ecabbf3fe33f3e86514909b323361626266cb2471cc8",
    ),
    (
        "457567656e2042f6686d20766f6e2042617765726b",
        "0c01dc9cec1fe4ddd692e8dd32188aa351088dc91183639a53b57aa4692b5ebdef8b8ca111",
    ),
]


def pair(
    key: bytes = KEY, other_key: bytes = KEY, prologue: bytes = b"p", other_prologue: bytes = b"p"
) -> tuple[Handshake, Handshake]:
    return (
        Handshake(True, key, entropy=lambda count: b"i" * count, prologue=prologue),
        Handshake(False, other_key, entropy=lambda count: b"r" * count, prologue=other_prologue),
    )


def shaken() -> tuple[tuple[Cipher, Cipher], tuple[Cipher, Cipher]]:
    initiator, responder = pair()
    responder.read(initiator.write(b""))
    initiator.read(responder.write(b""))
    return initiator.split(), responder.split()


def test_the_published_vector() -> None:
    initiator = Handshake(True, PSK, entropy=lambda count: INITIATOR_EPHEMERAL, prologue=PROLOGUE)
    responder = Handshake(False, PSK, entropy=lambda count: RESPONDER_EPHEMERAL, prologue=PROLOGUE)
    (payload, ciphertext), (answer, answer_ciphertext), *transport = (
        (bytes.fromhex(payload), bytes.fromhex(ciphertext)) for payload, ciphertext in MESSAGES
    )
    assert initiator.write(payload) == ciphertext
    assert responder.read(ciphertext) == payload
    assert responder.write(answer) == answer_ciphertext
    assert initiator.read(answer_ciphertext) == answer
    ends = [initiator.split(), responder.split()]
    for payload, ciphertext in transport:
        (sending, _), (_, receiving) = ends
        assert sending.encrypt(payload) == ciphertext
        assert receiving.decrypt(memoryview(ciphertext)) == payload
        ends.reverse()


@pytest.mark.parametrize("what", [{"other_key": b"x" * 32}, {"other_prologue": b"q"}])
def test_another_key_or_protocol_is_seen_at_the_first_message(what: dict[str, bytes]) -> None:
    initiator, responder = pair(**what)
    with pytest.raises(NotAuthentic):
        responder.read(initiator.write(b"hello"))


def test_a_responder_without_the_key_is_seen_too() -> None:
    initiator, _ = pair()
    stranger, responder = pair(b"x" * 32, b"x" * 32)
    initiator.write(b"hello")
    responder.read(stranger.write(b"hello"))
    with pytest.raises(NotAuthentic):
        initiator.read(responder.write(b"hello"))


@given(st.integers(0, 200), st.integers(0, 7), st.booleans())
def test_a_changed_bit_of_the_handshake(place: int, bit: int, in_the_answer: bool) -> None:
    initiator, responder = pair()
    first = initiator.write(b"hello")
    if in_the_answer:
        responder.read(first)
    message = bytearray(responder.write(b"hello") if in_the_answer else first)
    message[place % len(message)] ^= 1 << bit
    with pytest.raises(NotAuthentic):
        (initiator if in_the_answer else responder).read(bytes(message))


@given(st.integers(0, HANDSHAKE_OVERHEAD_BYTES + 4))
def test_a_part_of_a_message_is_none(length: int) -> None:
    initiator, responder = pair()
    with pytest.raises(NotAuthentic):
        responder.read(initiator.write(b"hello")[:length])


def test_a_key_of_small_order_is_none() -> None:
    """It makes the shared secret zero, whoever the other end is; its tag would be right."""
    _, responder = pair()
    forged = Handshake(True, KEY, entropy=lambda count: b"i" * count, prologue=b"p")
    responder.read(_with_ephemeral(forged, bytes(32)))
    with pytest.raises(NotAuthentic):
        responder.write(b"hello")


def _with_ephemeral(handshake: Handshake, public: bytes) -> bytes:
    handshake._done = 1
    handshake._mix_public_keys(public)
    return public + handshake._cipher.encrypt(b"hello", handshake._hash)


def test_messages_cannot_be_left_out_repeated_or_moved() -> None:
    for order in ([1], [0, 0], [0, 2], [0, 1, 0]):
        (sending, _), (_, receiving) = shaken()
        sent = [sending.encrypt(bytes([number])) for number in range(3)]
        *fine, wrong = order
        for number in fine:
            assert receiving.decrypt(sent[number]) == bytes([number])
        with pytest.raises(NotAuthentic):
            receiving.decrypt(sent[wrong])


def test_what_was_sent_does_not_come_back_as_received() -> None:
    (sending, receiving), _ = shaken()
    with pytest.raises(NotAuthentic):
        receiving.decrypt(sending.encrypt(b"mirror"))


def test_a_recorded_answer_does_not_fit_another_handshake() -> None:
    initiator, responder = pair()
    responder.read(initiator.write(b"hello"))
    recorded = responder.write(b"hello")
    again = Handshake(True, KEY, entropy=lambda count: b"j" * count, prologue=b"p")
    again.write(b"hello")
    with pytest.raises(NotAuthentic):
        again.read(recorded)


def test_the_last_nonce_is_never_used() -> None:
    cipher = Cipher(KEY)
    cipher._number = 2**64 - 2
    cipher.encrypt(b"")
    with pytest.raises(NotAuthentic):
        cipher.encrypt(b"")


def test_turns_are_kept() -> None:
    initiator, responder = pair()
    with pytest.raises(RuntimeError):
        initiator.read(bytes(64))
    with pytest.raises(RuntimeError):
        responder.write(b"")
    with pytest.raises(RuntimeError):
        responder.split()
    first = initiator.write(b"")
    with pytest.raises(RuntimeError):
        initiator.write(b"")
    responder.read(first)
    with pytest.raises(RuntimeError):
        responder.read(first)
    initiator.read(responder.write(b""))
    with pytest.raises(RuntimeError):
        responder.write(b"")
    with pytest.raises(RuntimeError):
        initiator.read(first)
    with pytest.raises(ValueError):
        Handshake(True, b"short", entropy=bytes)
