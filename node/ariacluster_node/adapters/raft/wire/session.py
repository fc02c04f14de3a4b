"""Noise_NNpsk0_25519_ChaChaPoly_SHA256: two ends that hold one key prove it to each other and agree on keys of their own.

By the letter of the Noise Protocol Framework, revision 34 (§5 processing rules, §7.5 pattern NN, §9 pre-shared keys),
but for one thing: a transport message may be longer than 65535 bytes (§3). That limit is Noise's own framing; the cipher's
is 256 GiB. No clock, no dice, no IO: ephemeral keys are made of the entropy that is handed in.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PROTOCOL_NAME = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"

PROLOGUE = b"ariacluster raft 1"
"""Both ends must mean the same protocol. The number changes with the layout of handshake and frames only; what is said
in them has its own version in the hello, which can be read and told to people."""

KEY_BYTES = 32
TAG_BYTES = 16
HANDSHAKE_OVERHEAD_BYTES = KEY_BYTES + TAG_BYTES
"""What a handshake message has beyond its payload: the ephemeral public key and the tag."""

_LAST_NONCE = 2**64 - 2
"""The one after it is reserved (§5.1)."""

_nonce = struct.Struct("<4xQ").pack
"""§12.3: 32 zero bits, then the counter, little-endian."""


class NotAuthentic(Exception):
    """These bytes are not from the other holder of the key, or not as they were sent, or not in their place."""


class Cipher:
    """CipherState (§5.1) of one direction: each message has the next number, so none can be left out, repeated or moved."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._number = 0

    def encrypt(self, plaintext: bytes, associated: bytes | None = None) -> bytes:
        """`plaintext` and `TAG_BYTES` more."""
        return self._aead.encrypt(_nonce(self._next()), plaintext, associated)

    def decrypt(self, ciphertext: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Raises `NotAuthentic`; nothing more can be read from this stream then."""
        try:
            return self._aead.decrypt(_nonce(self._next()), ciphertext, associated)
        except InvalidTag:
            raise NotAuthentic("the tag does not fit") from None

    def _next(self) -> int:
        number = self._number
        if number > _LAST_NONCE:
            raise NotAuthentic("all nonces are used up")
        self._number = number + 1
        return number


class Handshake:
    """HandshakeState (§5.3) of pattern NNpsk0: `-> psk, e` then `<- e, ee`. The initiator writes, then reads; the responder
    reads, then writes; then `split`."""

    def __init__(
        self,
        initiator: bool,
        psk: bytes,
        *,
        entropy: Callable[[int], bytes],
        prologue: bytes = PROLOGUE,
    ) -> None:
        if len(psk) != KEY_BYTES:
            raise ValueError(f"the key has {KEY_BYTES} bytes, not {len(psk)}")
        self._initiator = initiator
        self._entropy = entropy
        self._done = 0  # of the two messages
        self._own: X25519PrivateKey
        self._theirs: X25519PublicKey
        # The name is longer than a hash, so its hash stands for it (§5.2, InitializeSymmetric).
        self._hash = self._chaining_key = hashlib.sha256(PROTOCOL_NAME).digest()
        self._mix_hash(prologue)
        # Token `psk`, the first of the first message: MixKeyAndHash. It comes before anything that is sent or read.
        self._chaining_key, shared, key = _hkdf(self._chaining_key, psk, 3)
        self._mix_hash(shared)
        self._cipher = Cipher(key)

    def write(self, payload: bytes) -> bytes:
        """The message to be sent: `HANDSHAKE_OVERHEAD_BYTES` longer than the payload, which is encrypted."""
        self._turn(writes=True)
        self._own = X25519PrivateKey.from_private_bytes(self._entropy(KEY_BYTES))
        public = self._own.public_key().public_bytes_raw()
        self._mix_public_keys(public)
        ciphertext = self._cipher.encrypt(payload, self._hash)
        self._mix_hash(ciphertext)
        return public + ciphertext

    def read(self, message: bytes) -> bytes:
        """The payload. Raises `NotAuthentic`; this handshake is over then."""
        self._turn(writes=False)
        if len(message) < HANDSHAKE_OVERHEAD_BYTES:
            raise NotAuthentic("the handshake message is too short")
        public, ciphertext = message[:KEY_BYTES], message[KEY_BYTES:]
        self._theirs = X25519PublicKey.from_public_bytes(public)
        self._mix_public_keys(public)
        payload = self._cipher.decrypt(ciphertext, self._hash)
        self._mix_hash(ciphertext)
        return payload

    def split(self) -> tuple[Cipher, Cipher]:
        """For what this end sends, and for what it receives (§5.2, Split)."""
        if self._done != 2:
            raise RuntimeError("the handshake is not over")
        first, second = (Cipher(key) for key in _hkdf(self._chaining_key, b"", 2))
        return (first, second) if self._initiator else (second, first)

    def _turn(self, *, writes: bool) -> None:
        if self._done == 2 or writes != (self._initiator == (self._done == 0)):
            raise RuntimeError("it is not this end's turn")
        self._done += 1

    def _mix_public_keys(self, public: bytes) -> None:
        """Token `e`, in a handshake with a pre-shared key also into the key (§9.2); and `ee` in the second message."""
        self._mix_hash(public)
        self._mix_key(public)
        if self._done == 2:
            try:
                self._mix_key(self._own.exchange(self._theirs))
            except ValueError:  # a key of small order: all zeros would be shared with everybody (§12.1)
                raise NotAuthentic("the ephemeral key is not one") from None

    def _mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material, 2)
        self._cipher = Cipher(key)

    def _mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()


def _hkdf(chaining_key: bytes, material: bytes, count: int) -> list[bytes]:
    """§4.3."""
    secret = hmac.digest(chaining_key, material, "sha256")
    keys: list[bytes] = []
    for number in range(1, count + 1):
        keys.append(hmac.digest(secret, (keys[-1] if keys else b"") + bytes([number]), "sha256"))
    return keys
