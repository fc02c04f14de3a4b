"""What a vault promises, on the fake and on the real one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import Unavailable
from ariacluster_node.adapters.system.vault import SivVault
from ariacluster_node.ports import Vault
from tests.support.fake_vault import FakeVault

KEY, OTHER = b"k" * 32, b"o" * 32

vaults = pytest.mark.parametrize("vault", [FakeVault(), SivVault()], ids=["fake", "siv"])


@vaults
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_what_is_sealed_comes_back_and_is_sealed_alike(vault: Vault, text: str) -> None:
    sealed = vault.seal(KEY, text)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sealed)
    assert vault.open(KEY, sealed) == text
    assert vault.seal(KEY, text) == sealed


@vaults
@pytest.mark.parametrize("text", ["", "s3cret", "é☃" * 500])
def test_another_key_opens_nothing(vault: Vault, text: str) -> None:
    sealed = vault.seal(KEY, text)
    assert len(text) < 4 or text not in sealed
    assert vault.seal(OTHER, text) != sealed
    for key, damaged in ((OTHER, sealed), (KEY, ""), (KEY, "~"), (KEY, "é"), (KEY, sealed[4:])):
        with pytest.raises(Unavailable):
            vault.open(key, damaged)


def test_every_letter_counts() -> None:
    sealed = SivVault().seal(KEY, "s3cret")
    for place, sign in enumerate(sealed[:-1]):
        damaged = sealed[:place] + ("A" if sign != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(Unavailable):
            SivVault().open(KEY, damaged)


def test_it_is_sealed_with_a_key_of_its_own() -> None:
    """Kept as it is: what was sealed must open after an update."""
    assert SivVault().open(b"\0" * 32, SivVault().seal(b"\0" * 32, "s3cret")) == "s3cret"
    assert SivVault().seal(b"\0" * 32, "s3cret") == PINNED


PINNED = "UlMWlj3RbGElPmSYJQWYCpiwcUuDnQ"
