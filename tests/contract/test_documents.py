"""What a store of documents promises, on the fake and on a disk."""

import hashlib
from pathlib import Path

import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster_node.adapters.storage.documents import DocumentFolder
from ariacluster_node.ports import DocumentStore
from tests.support.fake_documents import FakeDocumentStore

DATA = b"a document"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["fake", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DocumentStore:
    return FakeDocumentStore() if request.param == "fake" else DocumentFolder(tmp_path / "documents")


async def test_what_was_put_is_there(store: DocumentStore) -> None:
    assert await store.known() == set()
    assert await store.get(DIGEST) is None
    for _ in range(2):
        await store.put(DIGEST, DATA)
    assert (await store.known(), await store.get(DIGEST)) == ({DIGEST}, DATA)
    await store.remove(DIGEST)
    await store.remove(DIGEST)
    assert await store.known() == set()


async def test_what_is_not_what_it_is_called_is_refused(store: DocumentStore) -> None:
    with pytest.raises(InvalidInput):
        await store.put(DIGEST, DATA + b"!")
    assert await store.known() == set()


async def test_a_damaged_one_is_none(tmp_path: Path) -> None:
    store = DocumentFolder(tmp_path)
    await store.put(DIGEST, DATA)
    (tmp_path / DIGEST).write_bytes(b"half")
    assert await store.get(DIGEST) is None
    assert await store.known() == set()
    (tmp_path / f"{DIGEST}.new").write_bytes(b"of a write that was cut short")
    await store.put(DIGEST, DATA)
    assert await DocumentFolder(tmp_path).get(DIGEST) == DATA


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
async def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        await DocumentFolder(tmp_path).get(name)
