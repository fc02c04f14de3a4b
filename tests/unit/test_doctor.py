"""What the doctor makes of broken situations: the facts are made up, the sentences are read."""

import asyncio
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from zeroconf import ServiceInfo
from zeroconf._protocol.outgoing import DNSOutgoing

from ariacluster import __version__
from ariacluster.cli.main import main
from ariacluster.domain.formation import Heard, Membership
from ariacluster.domain.policy import MIN_FREE
from ariacluster.wire.resources import NamedId
from ariacluster_node.adapters.mdns.announcement import SERVICE, entry_name, host, to_txt
from ariacluster_node.adapters.mdns.interfaces import Interface
from ariacluster_node.adapters.storage.state import NodeState
from ariacluster_node.config import Settings
from ariacluster_node.doctor import cluster, engine, examination, folders, lan, nodes, ports, report
from ariacluster_node.doctor.door import REFUSED, Answer, ClusterSaid, MemberSaid, StatusSaid, clock_ahead
from ariacluster_node.doctor.engine import Engine
from ariacluster_node.doctor.finding import Finding, is_well, names
from ariacluster_node.doctor.folders import Data, Downloads, Place
from ariacluster_node.doctor.multicast import Hearing, Sign, Voice, signs
from ariacluster_node.doctor.nodes import Known, Visit
from ariacluster_node.doctor.ports import Port

GB = 1_000_000_000
ME, NAS, ATTIC = "a" * 16, "b" * 16, "c" * 16
FOLDER = Path("/srv/data")
MEMBERSHIP = Membership(
    cluster_id="1834def5", cluster_name="home", key="aa", peers={NAS: "10.0.0.2:8001"}, doors={NAS: "10.0.0.2:8000"}
)


def only(found: list[Finding], state: str, *words: str) -> Finding:
    """The one finding that is not ok: of that state, saying these words, and what to do."""
    [bad] = [finding for finding in found if finding.state != "ok"]
    assert bad.state == state and bad.do, bad
    for word in words:
        assert word in f"{bad.says} {bad.do}", bad
    return bad


# -- settings


def test_settings_that_are_wrong_are_the_first_finding_and_the_rest_goes_on() -> None:
    settings, found = examination.load({"port": 9100}, None, {"ARIACLUSTER_PROT": "1"})
    assert settings.port == 9100
    only([found], "problem", "ARIACLUSTER_PROT", "Did you mean 'port'?")
    settings, found = examination.load({"port": 0}, None, {})
    assert settings == Settings()
    only([found], "problem", "port")


def test_settings_name_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('cluster = "lab"\n')
    settings, found = examination.load({"port": 9100}, file, {"ARIACLUSTER_SLOTS": "3", "ARIACLUSTER_URL": "x"})
    assert (settings.cluster, settings.slots, found.state) == ("lab", 3, "ok")
    for words in (str(file), "(ARIACLUSTER_SLOTS)", "the command line"):
        assert words in found.says


# -- folders


def data(**fields: Any) -> Data:
    place = Place(folder=FOLDER, exists=True, free=9 * GB)
    return Data(place=msgspec.structs.replace(place, **fields.pop("place", {})), **fields)


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (data(place={"writable": False}), "problem", ["not writable", "--data"]),
        (data(place={"writable": False, "exists": False}), "problem", ["cannot be made"]),
        (data(place={"is_folder": False}), "problem", ["not a folder"]),
        (
            data(place={"wrong": "Permission denied"}),
            "problem",
            ["Permission denied", "the user that the node runs as"],
        ),
        (data(damage="The log is gone."), "problem", ["The log is gone."]),
        (data(membership=MEMBERSHIP), "problem", ["'home'", "--cluster home"]),
        (data(place={"free": MIN_FREE - 1}), "warning", ["1000 MB free"]),
    ],
)
def test_a_data_folder_that_will_not_do(facts: Data, state: str, words: list[str]) -> None:
    only(folders.judge_data(facts, "default"), state, *words)


def test_a_data_folder_in_use_says_by_whom() -> None:
    [found] = folders.judge_data(data(membership=MEMBERSHIP, holder=4711), "home")
    assert found.state == "ok" and "'home'" in found.says and "pid 4711" in found.says
    assert "aa" not in found.says.replace("data", ""), "the key stays where it is"


async def test_looking_at_a_data_folder_makes_nothing(tmp_path: Path) -> None:
    facts = await folders.look_at_data(tmp_path / "none" / "data")
    assert not facts.place.exists and facts.place.writable and facts.holder is None
    (tmp_path / "data").mkdir()
    facts = await folders.look_at_data(tmp_path / "data")
    assert facts.place.exists and facts.node_id == ""
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "data"]


async def test_a_locked_data_folder_is_seen_and_stays_locked(tmp_path: Path) -> None:
    state = NodeState(tmp_path)
    await state.lock()
    node_id = await state.identity()
    await state.save_membership(MEMBERSHIP)
    facts = await folders.look_at_data(tmp_path)
    assert (facts.holder, facts.node_id, facts.membership) == (os.getpid(), node_id, MEMBERSHIP)
    assert (await folders.look_at_data(tmp_path)).holder == os.getpid()
    await state.unlock()
    assert (await folders.look_at_data(tmp_path)).holder is None
    await state.note_log(MEMBERSHIP.cluster_id)
    assert "log of this node" in (await folders.look_at_data(tmp_path)).damage


@pytest.mark.parametrize(
    ("free", "one_disk", "state", "words"),
    [
        (MIN_FREE - 1, True, "problem", ["takes no tasks", "--dir"]),
        (MIN_FREE, True, "warning", ["1.0 GB free"]),
        (9 * GB, False, "problem", ["another disk"]),
    ],
)
def test_a_download_folder_that_will_not_do(free: int, one_disk: bool, state: str, words: list[str]) -> None:
    place = Place(folder=FOLDER, exists=True, free=free)
    only(folders.judge_downloads(Downloads(place=place, one_disk=one_disk)), state, *words)


async def test_looking_at_a_download_folder(tmp_path: Path) -> None:
    facts = await folders.look_at_downloads(tmp_path / "new")
    assert not facts.place.exists and facts.place.free > 0 and facts.one_disk
    assert [f.state for f in folders.judge_downloads(facts)] != ["problem"]
    (tmp_path / ".ariacluster").symlink_to("/")
    assert not (await folders.look_at_downloads(tmp_path)).one_disk
    (tmp_path / "file").write_text("")
    assert not (await folders.look_at_downloads(tmp_path / "file" / "below")).place.is_folder


# -- the engine


def test_engines() -> None:
    listed = engine.features("aria2 version 1.37.0\nEnabled Features: Async DNS, BitTorrent, HTTPS, Metalink\nHash: x")
    assert listed == ("Async DNS", "BitTorrent", "HTTPS", "Metalink")
    assert engine.judge(Engine(version="1.37.0", features=listed))[0].state == "ok"
    only(
        engine.judge(Engine(version="1.36.0", features=("HTTPS", "Metalink"))), "warning", "BitTorrent", "magnet links"
    )
    only(engine.judge(Engine(wrong="No aria2 was found.")), "problem", "No aria2 was found.", "--aria2c")


async def test_an_old_engine_is_found_out(tmp_path: Path) -> None:
    told = tmp_path / "aria2c"
    told.write_text("#!/bin/sh\necho aria2 version 1.20\n")
    told.chmod(0o755)
    only(engine.judge(await engine.look(told)), "problem", str(told))


# -- ports

API, RAFT = (Port(number=8000, what="API", option="--port"), Port(number=8001, what="consensus", option="--peer-port"))


def taken(port: Port, pid: int | None = None, program: str = "") -> Port:
    return msgspec.structs.replace(port, taken=True, pid=pid, program=program)


def test_free_ports_and_those_of_the_own_node_are_well() -> None:
    assert is_well(ports.judge([API, RAFT], data(), None))
    mine = data(holder=7, node_id=ME)
    for pid in (7, None):
        found = ports.judge([taken(API, pid), taken(RAFT, pid)], mine, ME)
        assert [f.state for f in found] == ["ok", "ok"], found
        assert "the node that runs here" in found[1].says


def test_a_port_that_a_stranger_has() -> None:
    only(ports.judge([taken(API, 99, "nginx"), RAFT], data(), None), "problem", "8000", "nginx (pid 99)", "--port")
    only(ports.judge([API, taken(RAFT)], data(), None), "problem", "8001", "another program", "--peer-port")


def test_the_ports_of_another_node_of_this_machine() -> None:
    found = ports.judge([taken(API, 7), taken(RAFT, 7)], data(), NAS)
    assert [f.state for f in found] == ["warning", "warning"] and "another data folder" in found[0].says


def test_a_node_that_runs_and_does_not_answer() -> None:
    only(ports.judge([API, RAFT], data(holder=7, node_id=ME), None), "warning", "pid 7", "--port")


def test_a_node_with_the_id_of_a_folder_that_it_does_not_use() -> None:
    only(ports.judge([taken(API), taken(RAFT)], data(node_id=ME), ME), "problem", "one is a copy")


async def test_ports_are_looked_at_as_a_node_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        [api, _] = await ports.look(Settings(bind="127.0.0.1", port=number, peer_port=1))
    assert api.taken and api.pid == os.getpid() and api.program
    [api, _] = await ports.look(Settings(bind="192.0.2.77", port=number))
    assert not api.taken and "192.0.2.77" in api.wrong
    only(ports.judge([api, RAFT], data(), None), "problem", "--bind")


# -- multicast


def heard(node: str = NAS, name: str = "nas", cluster: str = "home", address: str = "10.0.0.2", **more: Any) -> Heard:
    return Heard(node_id=node, node_name=name, cluster_name=cluster, address=address, port=8000, version="1", **more)


def sign(node: Heard, round: int = 0, to_us: bool = False, *addresses: str) -> Sign:
    return Sign(heard=node, addresses=frozenset(addresses or (node.address,)), round=round, to_us=to_us)


ETH = Voice(name="eth0", address="10.0.0.1", echo=True)


def test_interfaces_without_multicast() -> None:
    deaf = Voice(name="wg0", address="10.9.0.1")
    only(lan.judge_interfaces(Hearing(voices=[ETH, deaf])), "warning", "wg0", "--join")
    only(lan.judge_interfaces(Hearing(voices=[deaf])), "problem", "wg0", "did not come back", "5353")
    wrong = msgspec.structs.replace(deaf, wrong="No such device")
    only(lan.judge_interfaces(Hearing(voices=[wrong])), "problem", "No such device")
    only(lan.judge_interfaces(Hearing()), "problem", "does not work")
    # Where one family works nobody misses the other.
    assert len(lan.judge_interfaces(Hearing(voices=[ETH, Voice(name="eth0", address="fd00::1")]))) == 1


def test_nobody_is_heard_or_only_another_cluster() -> None:
    mine = sign(heard(ME, "me"))
    only(
        lan.judge_heard(Hearing(voices=[ETH], signs=[mine, sign(heard(), 0, True)]), "home", ME),
        "warning",
        "Nobody else",
        "5353",
        "--join",
    )
    only(lan.judge_heard(Hearing(signs=[sign(heard())]), "lab", ME), "warning", "cluster 'home'", "--cluster")
    assert lan.judge_heard(Hearing(signs=[mine]), "home", ME) == [], "the interface is what is wrong"
    [found] = lan.judge_heard(Hearing(signs=[mine, sign(heard())]), "home", ME)
    assert (found.state, found.says) == ("ok", "Heard of the cluster 'home': nas.")


@pytest.mark.parametrize(
    ("spoken", "state", "words"),
    [
        ([sign(heard()), sign(heard(), 0, True)], "ok", "both ways"),
        ([sign(heard()), sign(heard(), 1)], "ok", "both ways"),  # our firewall drops what is sent to us alone
        ([sign(heard(), 0, True)], "warning", "does not hear nas"),
        ([sign(heard())], "warning", "nas does not hear this machine"),
        ([], "warning", "neither way"),
    ],
)
def test_multicast_that_goes_one_way(spoken: list[Sign], state: str, words: str) -> None:
    here = [Interface("eth0", 2, ipaddress.ip_interface("10.0.0.1/24"), "10.0.0.1")]
    hearing = Hearing(voices=[ETH], signs=spoken, here=here)
    [found] = lan.judge_both_ways(hearing, [(NAS, "nas", "10.0.0.2")])
    assert found.state == state and words in found.says
    assert state == "ok" or "5353" in found.do
    assert lan.judge_both_ways(hearing, [(ATTIC, "attic", "10.7.7.7")]) == [], "no multicast beyond a router"


def test_two_nodes_with_one_id() -> None:
    two = [sign(heard()), sign(heard(address="10.0.0.3"))]
    only(lan.judge_ids(two, ME, [], True), "problem", NAS, "10.0.0.2:8000 and 10.0.0.3:8000", "empty data folder")
    copy = msgspec.structs.replace(heard(), port=8010)  # both on one machine
    only(lan.judge_ids([sign(heard()), sign(copy)], ME, [], True), "problem", NAS)
    only(lan.judge_ids([sign(heard(ME, "me"))], ME, ["10.0.0.1"], False), "problem", "10.0.0.2:8000", "data folder")


def test_one_node_that_is_heard_twice() -> None:
    one = [sign(heard(), 0, False, "10.0.0.2", "fd00::2"), sign(heard(), 1, True, "10.0.0.2")]
    assert lan.judge_ids(one, ME, [], True) == []
    assert lan.judge_ids([sign(heard(ME, address="10.0.0.1"))], ME, ["10.0.0.1"], False) == []


def test_what_a_packet_says() -> None:
    mine = heard(cluster_id="1834")
    info = ServiceInfo(
        SERVICE, entry_name(NAS), port=8000, properties=to_txt(mine), server=host(NAS), parsed_addresses=["10.0.0.2"]
    )
    here = [Interface("eth0", 2, ipaddress.ip_interface("10.0.0.1/24"), "10.0.0.1")]

    def packet(ttl: int | None = None) -> bytes:
        out = DNSOutgoing(0x8400)
        for record in (info.dns_pointer(ttl), info.dns_service(ttl), info.dns_text(ttl), *info.dns_addresses(ttl)):
            out.add_answer_at_time(record, 0)
        return out.packets()[0]

    assert signs(packet(), "10.0.0.2", None, here, 1, True) == [sign(mine, 1, True)]
    assert signs(packet(0), "10.0.0.2", None, here, 1, True) == [], "a goodbye"
    assert signs(b"\x84" * 40, "10.0.0.2", None, here, 1, True) == []
    assert signs(b"", "10.0.0.2", None, here, 1, True) == []
    loop = [Interface("lo", 1, ipaddress.ip_interface("127.0.0.1/8"), "127.0.0.1")]
    assert signs(packet(), "10.0.0.2", None, loop, 1, True) == [], "out of reach"


# -- the other nodes


def known(node: str = NAS, name: str = "nas", present: bool = True) -> Known:
    return Known(id=node, name=name, door="10.0.0.2:8000", raft="10.0.0.2:8001", present=present)


def answer(name: str = "nas", version: str = __version__, ahead: float | None = 0.0) -> Answer:
    status = StatusSaid(node=NamedId(NAS, name), cluster=ClusterSaid(), version=version)
    return Answer(status=status, ahead=ahead)


def test_everybody_is_known_once() -> None:
    members = [
        MemberSaid(id=ME, name="me", address="10.0.0.1", port=8000, status="online"),
        MemberSaid(id=NAS, name="nas", address="10.0.0.9", port=8000, status="online"),
        MemberSaid(id=ATTIC, name="attic", address="10.0.0.3", port=8000, status="offline"),
    ]
    found = nodes.known(ME, [heard()], members, MEMBERSHIP, ["10.0.0.2:8000", "vpn:8000"])
    assert [(n.name, n.door, n.raft, n.present) for n in found] == [
        ("attic", "10.0.0.3:8000", None, False),
        ("nas", "10.0.0.2:8000", "10.0.0.2:8001", True),
        ("vpn:8000", "vpn:8000", None, True),
    ]
    [remembered] = nodes.known(ME, [], [], MEMBERSHIP, [])
    assert (remembered.door, remembered.present) == ("10.0.0.2:8000", False)


def test_nodes_that_are_not_reached() -> None:
    silent = Visit(node=known(), trouble="does not answer in time")
    only(nodes.judge_reach([silent]), "problem", "nas at 10.0.0.2:8000 does not answer in time", "TCP port 8000")
    only(
        nodes.judge_reach([Visit(node=known(present=False), trouble="does not answer in time")]),
        "warning",
        "machine on",
    )
    only(nodes.judge_reach([Visit(node=known(present=False), trouble=REFUSED)]), "warning", "start it", "node rm")
    half = Visit(node=known(), answer=answer(), raft_trouble="refuses the connection")
    only(nodes.judge_reach([half]), "problem", "10.0.0.2:8001 refuses", "TCP port 8001")
    assert nodes.judge_reach([Visit(node=known(), answer=answer())])[0].says == "Reached: nas."


def test_versions_that_differ() -> None:
    only(nodes.judge_versions({"nas": "0.0.1", "attic": __version__}, None), "warning", "nas 0.0.1", "Update the older")
    only(nodes.judge_versions({"nas": "0.0.1"}, "0.0.1"), "warning", "installed is", "Start it again")
    assert nodes.judge_versions({"nas": __version__}, __version__)[0].state == "ok"


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        ({"nas": 5.0}, "The clock of nas is 5.0 s ahead of that of this machine"),
        ({"nas": -5.0, "attic": 0.1}, "The clock of nas is 5.0 s behind that of this machine"),
        ({"nas": 5.0, "attic": 5.2}, "The clock of this machine is 5.1 s behind those of nas and attic"),
        ({"nas": -3600.0, "attic": -3600.4, "shed": 0.0}, "The clock of this machine is 3600.0 s ahead of"),
    ],
)
def test_clocks_that_differ(ahead: dict[str, float], words: str) -> None:
    only(nodes.judge_clocks(ahead), "warning", words, "set-ntp")


def test_clocks_that_agree() -> None:
    assert [f.state for f in nodes.judge_clocks({"nas": 1.4, "attic": -0.5})] == ["ok"]
    assert nodes.judge_clocks({}) == []


def test_a_clock_is_read_off_the_date_header() -> None:
    assert clock_ahead("Thu, 01 Jan 1970 00:01:45 GMT", 100.4, 100.6) == pytest.approx(5.0)
    assert clock_ahead("", 0, 0) is None
    assert clock_ahead("soon", 0, 0) is None


# -- the cluster


def said(problems: list[str] | None = None, **fields: Any) -> StatusSaid:
    whole: dict[str, Any] = {
        "id": "1834",
        "name": "home",
        "leader": NamedId(NAS, "nas"),
        "voters": 3,
        "members": 3,
        "has_quorum": True,
    }
    return StatusSaid(node=NamedId(ME, "me"), cluster=ClusterSaid(**(whole | fields)), problems=problems or [])


def test_clusters_in_trouble() -> None:
    [found] = cluster.judge(said())
    assert (found.state, found.says) == ("ok", "'home': nas leads 3 nodes, and every voter is there.")
    lost = [NamedId(NAS, "nas"), NamedId(ATTIC, "attic")]
    only(cluster.judge(said(has_quorum=False, leader=None, missing=lost)), "problem", "nas and attic", "recover")
    only(cluster.judge(said(leader=None)), "problem", "no leader")
    only(cluster.judge(said(missing=lost[1:])), "warning", "attic", "node rm")
    only(cluster.judge(said(id="")), "warning", "no cluster yet")


def test_what_the_node_itself_complains_of_is_shown() -> None:
    found = cluster.judge(said(["Of the 3 voters nas cannot be reached.", "Another cluster."], has_quorum=False))
    assert [(f.state, f.says[:12]) for f in found] == [("problem", "Of the 3 vot"), ("warning", "Another clus")]
    found = cluster.judge(said(["Another cluster."]))
    assert [f.state for f in found] == ["ok", "warning"]


# -- what is printed


def test_the_report() -> None:
    bad = Finding("ports", "problem", "Port 8000 is taken by \x1b[31mnginx.", "Choose another with --port.")
    shown = [line.plain for line in report.lines(bad, 60)]
    assert shown[0].startswith("✗ ports       Port 8000 is taken by \\x1b[31mnginx.")
    assert shown[1] == "              → Choose another with --port."
    well = Finding("aria2c", "ok", "Fine.")
    assert [line.plain for line in report.lines(well, 60)] == ["✓ aria2c      Fine."]
    assert report.verdict([bad, bad, Finding("x", "warning", "")]).plain == "2 problems and 1 warning."
    assert report.verdict([well]).plain == "All is well."
    assert is_well([well, Finding("x", "warning", ""), Finding("y", "skipped", "")]) and not is_well([well, bad])
    assert names(["a", "b", "a", "c"]) == "a, b and c"


async def test_a_check_that_fails_or_hangs_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    async def breaks(*_: object) -> Any:
        raise RuntimeError("boom")

    async def hangs(*_: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "look", breaks)
    monkeypatch.setattr(folders, "look_at_downloads", hangs)
    monkeypatch.setattr(examination, "CHECK_S", 0.2)
    flags = {"bind": "127.0.0.1", "port": 1, "mdns": False, "data": str(tmp_path / "data")}
    looked = examination.Examination(flags, None)
    found = [finding async for finding in looked.findings()]
    assert looked.hung
    by_check = {finding.check: finding for finding in found}
    assert "boom" in by_check["aria2c"].says and "did not end" in by_check["downloads"].says
    assert by_check["data folder"].state == "ok" and by_check["multicast"].state == "skipped"


# -- the command


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (["doctor", "--help"], ["--help"]),
        (["doctor", "--port", "9", "-o", "json"], ["--port", "9", "-o", "json"]),
        (["-o", "ndjson", "doctor", "--", "-x"], ["-o", "ndjson", "--", "-x"]),
    ],
)
def test_the_verb_hands_everything_over(said: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def execv(program: str, given: list[str]) -> None:
        seen[:] = [program, *given, os.environ["ARIACLUSTER_PROG"]]
        raise KeyboardInterrupt  # in the place of the process that would be another one now

    monkeypatch.setenv("ARIACLUSTER_PROG", "")
    monkeypatch.setattr(os, "execv", execv)
    main(said)
    python = [sys.executable, sys.executable, "-P", "-m", "ariacluster_node.doctor"]
    assert seen == [*python, *passed, "ariacluster doctor"]


def test_a_node_that_is_not_installed_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("error: The node is not installed")
