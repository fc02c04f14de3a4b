"""The way from the raft thread to the loop."""

import asyncio
import threading
import time
from functools import partial

from structlog.testing import capture_logs

from ariacluster_node.adapters.raft.inbox import Inbox


async def test_what_a_thread_posts_runs_on_the_loop_in_order() -> None:
    inbox, seen, where, done = Inbox(asyncio.get_running_loop()), list[int](), set[int](), asyncio.Event()

    def note(number: int) -> None:
        seen.append(number)
        where.add(threading.get_ident())

    def work() -> None:
        for number in range(0, 20_000, 2):
            inbox.post([partial(note, number), partial(note, number + 1)])
        inbox.post([done.set])

    await asyncio.to_thread(work)
    await asyncio.wait_for(done.wait(), 10)
    assert seen == list(range(20_000))
    assert where == {threading.get_ident()}


async def test_a_flood_leaves_the_loop_to_others() -> None:
    inbox, turns, done = Inbox(asyncio.get_running_loop()), 0, asyncio.Event()
    inbox.post([partial(time.sleep, 0.001)] * 100)
    inbox.post([done.set])
    while not done.is_set():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5


async def test_one_that_raises_does_not_hold_up_the_next() -> None:
    inbox, done = Inbox(asyncio.get_running_loop()), asyncio.Event()
    inbox.post([partial(next, iter(())), done.set])
    await asyncio.wait_for(done.wait(), 10)


async def test_what_takes_its_time_holds_back_what_comes_after_it() -> None:
    loop = asyncio.get_running_loop()
    inbox, seen, slow, done = Inbox(loop), list[str](), loop.create_future(), asyncio.Event()
    inbox.post([lambda: slow, partial(seen.append, "after"), done.set])
    await asyncio.sleep(0)
    inbox.post([partial(seen.append, "later")])
    for _ in range(3):
        await asyncio.sleep(0)
    assert not seen
    slow.set_result(None)
    await asyncio.wait_for(done.wait(), 10)
    await asyncio.sleep(0)
    assert seen == ["after", "later"]


async def test_what_takes_its_time_and_fails_is_told_and_passed_over() -> None:
    loop = asyncio.get_running_loop()
    inbox, slow, done = Inbox(loop), loop.create_future(), asyncio.Event()
    slow.set_exception(ZeroDivisionError())
    with capture_logs() as logs:
        inbox.post([lambda: slow, done.set])
        await asyncio.wait_for(done.wait(), 10)
    assert [entry["event"] for entry in logs] == ["a call from the raft thread failed"]


def test_after_the_end_of_the_loop_a_post_is_lost_quietly() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    Inbox(loop).post([lambda: None])


async def test_after_its_end_nothing_runs_not_even_what_was_posted() -> None:
    loop = asyncio.get_running_loop()
    inbox, seen, slow = Inbox(loop), list[str](), loop.create_future()
    inbox.post([lambda: slow, partial(seen.append, "behind it")])
    await asyncio.sleep(0)
    inbox.close()
    inbox.post([partial(seen.append, "later")])
    slow.set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not seen


async def test_what_is_cancelled_holds_back_what_comes_after_it_for_ever() -> None:
    loop = asyncio.get_running_loop()
    inbox, seen, slow = Inbox(loop), list[str](), loop.create_future()
    inbox.post([lambda: slow, partial(seen.append, "behind it")])
    await asyncio.sleep(0)
    slow.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not seen
