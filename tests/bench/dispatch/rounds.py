"""What comparisons of downloads share: their rounds, the aria2c that is given a list, and when a cluster has done it all."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp


async def medians(rounds: int, take: Callable[[str], Awaitable[tuple[float, float]]]) -> tuple[float, float]:
    """Of each of the two that a round takes, in seconds; `take` is told which round it is."""
    taken = [await take(f"{number + 1} of {rounds}") for number in range(rounds)]
    first, second = zip(*taken, strict=True)
    return statistics.median(first), statistics.median(second)


def listed(program: Path, folder: Path, urls: Sequence[str]) -> list[str]:
    """The words that have an aria2c download these into `folder`, which is made."""
    folder.mkdir()
    (folder / "list").write_text("\n".join(urls))
    words = f"--no-conf --quiet --dir={folder} --input-file={folder}/list -j5 -x16 -s8 -k1M --file-allocation=none"
    return [str(program), *words.split()]


async def completed(session: aiohttp.ClientSession, wanted: int) -> bool:
    """Are so many, and has none failed?"""
    async with session.get("/status") as answer:
        counts = (await answer.json())["tasks_by_status"]
    assert not counts.get("failed"), counts
    return bool(counts.get("completed") == wanted)
