import asyncio

import pytest

from ariacluster.domain.intake import is_document
from ariacluster.domain.task import Task, TaskSpec
from ariacluster_node.ports import Probe
from ariacluster_node.services import asking as room
from ariacluster_node.services.asking import About, Answer, Asking, changed
from tests.support.fake_folders import FakeFolders
from tests.support.fake_origins import FakeOrigins
from tests.support.fake_site import until

URL = "http://origin/file.bin"
PROBE = Probe(status=200, size=7)


def row(number: int = 1, *urls: str, attempt: int = 1, size: int = 0, validator: str = "") -> Task:
    spec = TaskSpec(urls=urls or (URL,))
    return Task(
        id=f"{number:016x}",
        spec=spec,
        seq=1,
        attempt=attempt,
        size=size,
        validator=validator,
        created_at=0,
        updated_at=0,
    )


async def test_an_answer_is_kept_until_it_is_taken_and_told_of() -> None:
    asking, told = Asking(FakeOrigins({URL: PROBE}), FakeFolders()), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        asking.attach(group, told.set)
        assert asking.take(About.SIZE, row()) is None
        await told.wait()
        assert asking.under_way(About.SIZE) == [(row().id, 1)]
        assert asking.under_way(About.RESUME) == []
        assert asking.take(About.SIZE, row()) == Answer(PROBE)
        assert asking.under_way(About.SIZE) == []


async def test_questions_about_what_is_not_wanted_any_more_end() -> None:
    origins = FakeOrigins({URL: PROBE})
    asking = Asking(origins, FakeFolders())
    async with asyncio.TaskGroup() as group:
        asking.attach(group, lambda: None)
        origins.hold()
        for task in (row(1), row(2), row(2, attempt=2)):
            asking.take(About.SIZE, task)
        await until(lambda: origins.in_flight == 3)
        asking.keep({(row(2).id, 2)})
        await until(lambda: origins.in_flight == 1)
        origins.let_go()
        await until(lambda: asking.take(About.SIZE, row(2, attempt=2)) == Answer(PROBE))


async def test_no_more_than_a_few_are_asked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AT_A_TIME", 3)
    origins = FakeOrigins({URL: PROBE})
    asking = Asking(origins, FakeFolders())
    async with asyncio.TaskGroup() as group:
        asking.attach(group, lambda: None)
        rows = [row(number) for number in range(10)]
        for task in rows:
            asking.take(About.PATIENCE, task)
        await until(lambda: len(origins.asked) == 10 and not origins.in_flight)
        assert [asking.take(About.PATIENCE, task) for task in rows] == [Answer(PROBE)] * 10
    assert origins.most == 3


@pytest.mark.parametrize(
    ("task", "probe", "another"),
    [
        (row(size=7, validator="a"), None, False),
        (row(size=7, validator="a"), Probe(status=200, size=7, validator="a"), False),
        (row(size=7, validator="a"), Probe(status=200), False),
        (row(), Probe(status=200, size=8, validator="b"), False),
        (row(size=7, validator="a"), Probe(status=200, size=8, validator="a"), True),
        (row(size=7, validator="a"), Probe(status=200, size=7, validator="b"), True),
        (row(size=7), Probe(status=206, size=8, validator="b"), True),
        (row(size=7), Probe(status=404, size=8), False),
        (row(size=7), Probe(status=302, size=8), False),
    ],
)
def test_another_file_lies_there_only_if_both_say_so(task: Task, probe: Probe | None, another: bool) -> None:
    assert changed(task, probe) is another


@pytest.mark.parametrize(
    ("url", "document"),
    [
        (URL, False),
        ("http://origin/a.torrent", True),
        ("http://origin/a.Meta4?x=y", True),
        ("magnet:?xt=urn:btih:0", True),
        ("http://origin/a.torrent.zip", False),
    ],
)
def test_documents_name_other_things(url: str, document: bool) -> None:
    assert any(map(is_document, row(1, url).spec.urls)) is document
