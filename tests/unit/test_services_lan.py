import asyncio

import msgspec
import pytest

from ariacluster.domain.errors import Conflict, Unavailable
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster_node.services import lan as lan_room
from ariacluster_node.services.lan import AT_ONCE, TOLD_FOR, Lan
from tests.support.fake_clock import FakeClock
from tests.support.fake_discovery import Air, FakeDiscovery


def heard(name: str, **changes: object) -> Heard:
    plain = Heard(node_id=name, node_name=name, cluster_name="default", cluster_id="c", address=name, port=8000)
    return msgspec.structs.replace(plain, **changes)


ME = heard("me")


class Houses:
    """Fills `Doors`: `known` is what they answer by door; `most` the most that were asked at the same time."""

    def __init__(self) -> None:
        self.known: dict[str, list[Heard]] = {}
        self.asked: list[tuple[str, Heard]] = []
        self.most = self._now = 0

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        raise AssertionError("nobody knocks")

    async def meet(self, door: str, mine: Heard) -> list[Heard]:
        self.asked.append((door, mine))
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0.001)
        self._now -= 1
        if door == "rude:1":
            raise Conflict("another error of ours")
        if door not in self.known:
            raise Unavailable("nobody")
        return self.known[door]


class Here:
    """A `Lan` and what is around it."""

    def __init__(self, *, multicast: bool = True) -> None:
        self.air, self.doors, self.clock = Air(), Houses(), FakeClock()
        self.discovery = FakeDiscovery(self.air) if multicast else None
        self.mine = ME
        self.lan = Lan(self.discovery, self.doors, self.clock, lambda: self.mine)

    def names(self) -> list[str]:
        return [other.node_id for other in self.lan.heard()]


@pytest.fixture
async def here() -> Here:
    here = Here()
    assert here.discovery
    await here.discovery.start(ME)
    return here


async def test_who_is_heard_and_who_is_told_of_are_known_by_id(here: Here) -> None:
    here.air.entries |= {"z": heard("z"), "b": heard("b")}
    here.lan.note(heard("m"))
    here.lan.note(ME)
    assert here.names() == ["b", "m", "z"], "and never this node itself"


async def test_what_was_told_is_forgotten(here: Here) -> None:
    here.lan.note(heard("m"))
    here.clock.advance(TOLD_FOR - 0.1)
    assert here.names() == ["m"]
    here.lan.note(heard("n"))
    here.clock.advance(0.2)
    assert here.names() == ["n"]
    here.lan.note(heard("n"))  # told anew: it counts on
    here.clock.advance(TOLD_FOR - 0.1)
    assert here.names() == ["n"]
    here.clock.jump(10**6)
    assert here.names() == ["n"], "what people call the time means nothing here"
    here.clock.advance(0.2)
    assert here.names() == []
    assert here.lan.told_of("n") == []


async def test_who_is_heard_is_taken_at_its_own_word(here: Here) -> None:
    here.air.entries["m"] = heard("m", cluster_id="d", members=3)
    here.lan.note(heard("m", cluster_id="old", address="elsewhere"))
    assert here.lan.heard() == [heard("m", cluster_id="d", members=3)]
    here.air.mute("m")
    assert [other.cluster_id for other in here.lan.heard()] == ["old"]


async def test_the_latest_word_of_a_node_counts(here: Here) -> None:
    """What it announced while nothing came through is heard late; it is asked earlier."""

    def cluster() -> str:
        return here.lan.heard()[0].cluster_id

    here.air.entries["m"] = heard("m", cluster_id="old")
    assert cluster() == "old"
    here.clock.advance(1)
    here.doors.known["m:8000"] = [heard("m", cluster_id="new"), heard("x", cluster_id="hearsay")]
    here.air.entries["x"] = heard("x", cluster_id="its own word")
    await here.lan.meet(["m:8000"])
    assert [other.cluster_id for other in here.lan.heard()] == ["new", "its own word"]
    here.clock.advance(1)
    here.air.entries["m"] = heard("m", cluster_id="newer")
    assert cluster() == "newer"
    here.clock.advance(1)
    here.lan.note(heard("m", cluster_id="newest"), itself=True)
    assert cluster() == "newest"
    here.clock.advance(TOLD_FOR)
    assert cluster() == "newer", "as long as it is announced"


async def test_a_copy_does_not_take_the_place_of_who_is_announced(here: Here) -> None:
    here.air.entries["m"] = heard("m")
    here.clock.advance(1)
    here.lan.note(heard("m", address="copy"), itself=True)
    assert [other.address for other in here.lan.heard()] == ["m"]


async def test_of_what_was_told_the_latest_counts(here: Here) -> None:
    here.lan.note(heard("m", address="one"))
    here.lan.note(heard("m", address="two"))
    assert [other.address for other in here.lan.heard()] == ["two"]
    here.lan.note(heard("m", address="one", cluster_id="d"))
    assert [(other.address, other.cluster_id) for other in here.lan.heard()] == [("one", "d")]
    assert here.lan.told_of("m") == ["two:8000", "one:8000"]


async def test_the_doors_of_this_very_node_are_told_too(here: Here) -> None:
    here.lan.note(heard("me", address="copy"))
    assert here.names() == []
    assert here.lan.told_of("me") == ["copy:8000"]
    assert here.lan.told_of("z") == []


async def test_what_is_told_is_bounded(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan_room, "MAX_TOLD", 3)
    for name in "abcde":
        here.lan.note(heard(name))
    assert here.names() == ["a", "b", "c"]
    here.lan.note(heard("b", cluster_id="d"))
    assert [other.cluster_id for other in here.lan.heard()] == ["c", "d", "c"], "who is known may have news"
    here.clock.advance(TOLD_FOR)
    assert here.names() == []
    here.lan.note(heard("e"))
    assert here.names() == ["e"], "and there is room again"


async def test_everybody_is_met_who_answers(here: Here) -> None:
    here.doors.known = {"a:1": [heard("a"), heard("x"), heard("y")], "b:1": [heard("b")], "mute:1": []}
    met = await here.lan.meet(["silent:1", "a:1", "rude:1", "mute:1", "b:1", "a:1"])
    assert met == [heard("a"), heard("b")]
    assert here.names() == ["a", "b", "x", "y"], "whom they know is known here too"
    assert sorted(door for door, _ in here.doors.asked) == ["a:1", "b:1", "mute:1", "rude:1", "silent:1"]
    assert {mine for _, mine in here.doors.asked} == {ME}, "and it says who it is"
    assert await here.lan.meet([]) == []


async def test_not_too_many_doors_are_asked_at_the_same_time(here: Here) -> None:
    await here.lan.meet(f"n{number}:1" for number in range(3 * AT_ONCE))
    assert len(here.doors.asked) == 3 * AT_ONCE
    assert here.doors.most == AT_ONCE


async def test_only_news_is_announced(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Heard] = []
    assert here.discovery

    async def update(mine: Heard) -> None:
        told.append(mine)

    monkeypatch.setattr(here.discovery, "update", update)
    await here.lan.announce()
    await here.lan.announce()
    assert told == [ME]
    here.mine = heard("me", cluster_id="d")
    await here.lan.announce()
    await here.lan.announce()
    assert told == [ME, here.mine]


async def test_the_lan_is_asked_anew_and_tells_of_twins(here: Here) -> None:
    assert here.discovery
    here.lan.ask()
    assert here.discovery.asked == 1
    here.discovery.twins = ("10.0.0.9:8000",)
    assert here.lan.twins == ("10.0.0.9:8000",)


async def test_without_multicast_meetings_are_all_there_is() -> None:
    here = Here(multicast=False)
    await here.lan.announce()
    here.lan.ask()
    assert (here.lan.heard(), here.lan.twins) == ([], ())
    here.doors.known["a:1"] = [heard("a"), heard("x")]
    await here.lan.meet(["a:1"])
    assert here.names() == ["a", "x"]
