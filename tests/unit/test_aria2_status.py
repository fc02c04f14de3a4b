"""What aria2 lists, folded into what the port reports. The lists are aria2c 1.36's own words."""

from typing import Any

from ariacluster.domain.reconcile import Download
from ariacluster_node.adapters.aria2.status import entries, families, fold

TASK = "00000000000000aa"


def listed(gid: str, status: str, done: int = 0, total: int = 0, **more: Any) -> dict[str, Any]:
    """One struct as tellActive, tellWaiting and tellStopped give it for the keys that we ask for."""
    entry = {
        "gid": gid,
        "status": status,
        "completedLength": str(done),
        "totalLength": str(total),
        "downloadSpeed": "0",
        "uploadSpeed": "0",
        "connections": "0",
    }
    if status in ("complete", "error", "removed"):
        entry |= {"errorCode": "0", "errorMessage": ""}
    return entry | more


def folded(*structs: dict[str, Any]) -> dict[str, Download]:
    return {root: fold(root, family) for root, family in families(entries([list(structs)])).items()}


def test_a_plain_download_as_it_is() -> None:
    active = listed(TASK, "active", 5, 10, downloadSpeed="7", uploadSpeed="3", connections="8")
    assert folded(active) == {
        TASK: Download(gid=TASK, status="active", completed=5, total=10, speed=7, upload_speed=3, connections=8)
    }


def test_an_error_with_code_and_text() -> None:
    failed = folded(listed(TASK, "error", errorCode="3", errorMessage="Resource not found"))[TASK]
    assert (failed.status, failed.error_code, failed.error_message) == ("error", 3, "Resource not found")


def test_metadata_counts_for_nothing_once_the_payload_is_there() -> None:
    download = folded(
        listed("d33c", "active", 3_000, 9_000, following=TASK, downloadSpeed="50", connections="2"),
        listed(TASK, "complete", 16_384, 16_384, followedBy=["d33c"]),
    )
    assert download == {
        TASK: Download(gid=TASK, status="active", completed=3_000, total=9_000, speed=50, connections=2)
    }


def test_complete_only_when_every_child_is() -> None:
    parent = listed(TASK, "complete", 600, 600, followedBy=["1", "2"])
    one = listed("1", "complete", 10, 10, following=TASK)
    assert folded(one, listed("2", "waiting", following=TASK), parent)[TASK].status == "waiting"
    assert folded(one, listed("2", "paused", following=TASK), parent)[TASK].status == "paused"
    whole = folded(parent, one, listed("2", "complete", 20, 20, following=TASK))[TASK]
    assert (whole.status, whole.completed, whole.total) == ("complete", 30, 30)


def test_an_error_of_one_child_is_the_error_of_all() -> None:
    download = folded(
        listed("2", "active", 1, 20, following=TASK),
        listed(TASK, "complete", 600, 600, followedBy=["1", "2"]),
        listed("1", "error", 4, 10, following=TASK, errorCode="3", errorMessage="Resource not found"),
    )
    assert (download[TASK].status, download[TASK].error_code) == ("error", 3)
    assert download[TASK].error_message == "Resource not found"


def test_families_of_three_generations() -> None:
    """A Metalink document at a URL that names a torrent: document, .torrent (belongsTo), payload."""
    download = folded(
        listed("3", "active", 2, 4, following="2"),
        listed("1", "waiting", 0, 4, following=TASK),
        listed(TASK, "complete", 600, 600, followedBy=["1"]),
        listed("2", "complete", 99, 99, belongsTo="1", followedBy=["3"]),
    )
    assert set(download) == {TASK}
    assert (download[TASK].status, download[TASK].completed, download[TASK].total) == ("active", 2, 8)


def test_children_whose_parent_is_listed_no_more_still_bear_its_gid() -> None:
    download = folded(listed("1", "active", 1, 10, following=TASK), listed("2", "complete", 10, 10, following=TASK))
    assert set(download) == {TASK}
    assert (download[TASK].status, download[TASK].completed) == ("active", 11)


def test_a_child_that_somebody_removed_never_looks_complete() -> None:
    parent = listed(TASK, "complete", 600, 600, followedBy=["1", "2"])
    one = listed("1", "complete", 10, 10, following=TASK)
    assert folded(parent, one)[TASK].status == "removed"
    gone = listed("2", "removed", 1, 10, following=TASK, errorCode="31")
    assert (folded(parent, one, gone)[TASK].status, folded(parent, one, gone)[TASK].error_code) == ("removed", 31)


def test_families_do_not_mix() -> None:
    download = folded(
        listed("1", "active", following=TASK),
        listed("bb", "waiting"),
        listed(TASK, "complete", followedBy=["1"]),
        listed("cc", "error", errorCode="1"),
    )
    assert {gid: one.status for gid, one in download.items()} == {TASK: "active", "bb": "waiting", "cc": "error"}


def test_a_circle_ends() -> None:
    assert len(folded(listed("1", "active", following="2"), listed("2", "active", following="1"))) == 2
