import pytest

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Staged
from ariacluster_node.services.staging import LOOK_AGAIN, Staging
from tests.support.fake_clock import FakeClock
from tests.support.fake_folders import FakeFolders
from tests.support.singly import discard, publish

A, B = "a" * 16, "b" * 16


class Refusing(FakeFolders):
    """`staged` fails while `why` is not empty."""

    why = ""

    async def staged(self) -> dict[str, Staged]:
        if self.why:
            raise Unavailable(self.why)
        return await super().staged()


async def test_it_is_due_at_first_and_now_and_then() -> None:
    clock = FakeClock()
    staging = Staging(FakeFolders(), clock.monotonic)
    assert (staging.is_due, staging.is_known) == (True, False)
    await staging.look(())
    assert (staging.is_due, staging.is_known) == (False, True)
    clock.advance(LOOK_AGAIN)
    assert staging.is_due
    await staging.look(())
    assert not staging.is_due
    staging.forget()
    assert (staging.is_due, staging.is_known) == (True, False)


async def test_what_is_on_its_way_is_known_before_it_is_there() -> None:
    folders = FakeFolders()
    staging = Staging(folders, FakeClock().monotonic)
    await folders.open(A, fresh=True)
    await staging.look([B])
    assert staging.known == {A: Staged(None), B: Staged(None)}
    await discard(folders, A, published=False)
    await staging.look(())
    assert staging.known == {}


async def test_what_was_refused_stays_so() -> None:
    folders = FakeFolders()
    staging = Staging(folders, FakeClock().monotonic)
    for task_id in (A, B):
        await folders.open(task_id, fresh=True)
        folders.put(task_id, "f", b"1")
        await publish(folders, task_id, 1, "")
    await staging.look(())
    staging.refuse(A)
    await staging.look(())
    assert {task_id: staged.refused for task_id, staged in staging.known.items()} == {A: True, B: False}
    await discard(folders, A, published=True)
    await staging.look(())
    assert set(staging.known) == {B}


async def test_a_disk_that_refuses_leaves_what_was_known() -> None:
    folders = Refusing()
    staging = Staging(folders, FakeClock().monotonic)
    folders.why = "The disk does not want to."
    with pytest.raises(Unavailable):
        await staging.look(())
    assert not staging.is_known
    folders.why = ""
    await folders.open(A, fresh=True)
    await staging.look(())
    folders.why = "Not again."
    await staging.look(())
    assert staging.known == {A: Staged(None)}
