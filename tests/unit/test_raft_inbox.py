"""The way from the raft thread to the loop."""

import asyncio
import threading
import time
from functools import partial

import pytest

from ariacluster_node.adapters.raft.inbox import Inbox


async def test_what_a_thread_posts_runs_on_the_loop_in_order() -> None:
    inbox, seen, where, done = Inbox(asyncio.get_running_loop()), list[int](), set[int](), asyncio.Event()

    def note(number: int) -> None:
        seen.append(number)
        where.add(threading.get_ident())

    def work() -> None:
        for number in range(20_000):
            inbox.post(partial(note, number))
        inbox.post(done.set)

    await asyncio.to_thread(work)
    await asyncio.wait_for(done.wait(), 10)
    assert seen == list(range(20_000))
    assert where == {threading.get_ident()}


async def test_a_flood_leaves_the_loop_to_others() -> None:
    inbox, turns, done = Inbox(asyncio.get_running_loop()), 0, asyncio.Event()
    for _ in range(100):
        inbox.post(partial(time.sleep, 0.001))
    inbox.post(done.set)
    while not done.is_set():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5


async def test_one_that_raises_does_not_hold_up_the_next() -> None:
    inbox, done = Inbox(asyncio.get_running_loop()), asyncio.Event()
    inbox.post(partial(next, iter(())))
    inbox.post(done.set)
    await asyncio.wait_for(done.wait(), 10)


async def test_an_answer_comes_after_all_that_was_posted_before() -> None:
    inbox, seen = Inbox(asyncio.get_running_loop()), list[int]()

    def work() -> int:
        for number in range(100):
            inbox.post(partial(seen.append, number))
        return inbox.ask(lambda: len(seen), timeout=10)

    assert await asyncio.to_thread(work) == 100


async def test_a_question_that_fails_or_is_not_answered_raises_in_the_thread() -> None:
    inbox = Inbox(asyncio.get_running_loop())
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(inbox.ask, lambda: 1 // 0, timeout=10)
    with pytest.raises(TimeoutError):
        inbox.ask(lambda: 1, timeout=0.05)  # the loop is busy: it is asking


def test_after_the_end_of_the_loop_a_post_is_lost_quietly() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    Inbox(loop).post(lambda: None)
