"""The fuzzer's targets, so that they do not rot: with their seeds, every beginning of them, and every byte of them spoiled."""

import pytest

from tests.fuzz.targets import READERS, SEEDS, feed


@pytest.mark.parametrize("name", READERS)
def test_seeds_and_what_is_near_them(name: str) -> None:
    for seed in SEEDS[name]:
        READERS[name](seed)
        for place in range(len(seed)):
            feed(name, seed[:place])
            for byte in (b"\0", b"\xff", b"e", b"<"):
                feed(name, seed[:place] + byte + seed[place + 1 :])
