import pytest

from ariacluster.domain.commands import Assign, Move, Pause, Remove, Start, Submit
from ariacluster.domain.errors import AriaClusterError, InvalidInput, NotFound, NotReady
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster_node.services import handover as handover_room
from ariacluster_node.services.handover import Handover
from tests.support.fake_site import SPEC, FakeSite, SiteNode

A = "a" * 16
PARTIAL = Partial(files=(PartialFile("f", 5, ((0, 5),)), PartialFile("f.aria2", 3, ((0, 3),))))


class Stage:
    """Node `a` had begun the task; it was given to `b` as attempt 2."""

    def __init__(self, source: SiteNode, target: SiteNode) -> None:
        self.source, self.target = source, target
        self.busy: set[str] = set()
        self.handover = Handover(source.replica, source.folders, lambda task_id: task_id in self.busy)

    async def refuses(self, error: type[AriaClusterError], attempt: int = 2) -> None:
        for ask in (self.handover.look(A, attempt), self.handover.read(A, attempt, "f", 0, 5)):
            with pytest.raises(error) as raised:
                await ask
            assert raised.type is error


async def begun(site: FakeSite) -> Stage:
    source, target = await site.up("ab")
    await site.say(Submit(A, SPEC), Assign(A, 1, source.me.id, ""), Start(A, 1))
    await source.folders.open(A, fresh=True)
    source.folders.put(A, "f", b"12345")
    source.folders.put(A, "f.aria2", b"abc")
    return Stage(source, target)


async def moved(site: FakeSite) -> Stage:
    stage = await begun(site)
    await site.say(Move(A, 2, stage.target.me.id, "", fetch=True))
    return stage


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


async def test_what_is_there_is_told_and_read(site: FakeSite) -> None:
    stage = await moved(site)
    assert await stage.handover.look(A, 2) == PARTIAL
    assert await stage.handover.read(A, 2, "f", 1, 3) == b"234"
    assert await stage.handover.read(A, 2, "f.aria2", 0, 3) == b"abc"


async def test_a_block_can_be_read_after_a_restart(site: FakeSite) -> None:
    stage = await moved(site)
    assert await stage.handover.read(A, 2, "f", 0, 5) == b"12345", "nobody had looked yet"


async def test_nobody_reads_what_the_engine_may_write(site: FakeSite) -> None:
    stage = await moved(site)
    stage.busy.add(A)
    await stage.refuses(NotReady)
    stage.busy.clear()
    assert await stage.handover.look(A, 2) == PARTIAL


async def test_an_attempt_that_it_has_not_heard_of_may_come(site: FakeSite) -> None:
    stage = await begun(site)
    await stage.refuses(NotReady)
    with pytest.raises(NotReady):
        await stage.handover.look("b" * 16, 1)


async def test_an_attempt_that_is_over_gets_nothing(site: FakeSite) -> None:
    stage = await moved(site)
    await site.say(Move(A, 3, stage.source.me.id, "", fetch=True))
    await stage.refuses(NotFound)
    await stage.refuses(NotFound, attempt=3)  # it is this node's own


async def test_a_paused_or_removed_task_is_not_handed_over(site: FakeSite) -> None:
    stage = await moved(site)
    await site.say(Pause(A))
    await stage.refuses(NotFound)
    await site.say(Remove(A))
    await stage.refuses(NotFound)


async def test_it_is_refused_in_the_middle_once_it_is_superseded(site: FakeSite) -> None:
    stage = await moved(site)
    read = stage.source.folders.read

    async def overtaken(task_id: str, file: PartialFile, offset: int, length: int) -> bytes:
        data = await read(task_id, file, offset, length)
        stage.busy.add(task_id)
        return data

    stage.source.folders.read = overtaken  # type: ignore[method-assign]
    with pytest.raises(NotReady):
        await stage.handover.read(A, 2, "f", 0, 5)


async def test_what_cannot_be_resumed_is_nothing(site: FakeSite) -> None:
    stage = await moved(site)
    del stage.source.folders.staging[A]["f.aria2"]
    await stage.refuses(NotFound)


async def test_a_name_that_cannot_be_said_is_not_told(site: FakeSite) -> None:
    stage = await moved(site)
    stage.source.folders.put(A, "\udcff", b"1")
    stage.source.folders.put(A, "\udcff.aria2", b"1")
    await stage.refuses(NotFound)


@pytest.mark.parametrize(("offset", "length"), [(0, 6), (5, 1), (0, 0), (0, handover_room.MAX_BLOCK + 1)])
async def test_a_block_lies_in_its_file(site: FakeSite, offset: int, length: int) -> None:
    stage = await moved(site)
    with pytest.raises(InvalidInput):
        await stage.handover.read(A, 2, "f", offset, length)


async def test_only_files_of_the_download_are_read(site: FakeSite) -> None:
    stage = await moved(site)
    with pytest.raises(NotFound):
        await stage.handover.read(A, 2, "../../etc/passwd", 0, 1)
