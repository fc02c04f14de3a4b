import asyncio

from ariacluster_node.services.wakeup import Wakeup


async def test_it_wakes_at_once_and_many_count_as_one() -> None:
    wake = Wakeup()
    wake()
    wake()
    await asyncio.wait_for(wake.wait(60), 5)
    again = asyncio.create_task(wake.wait(60))
    await asyncio.sleep(0)
    assert not again.done(), "both wake-ups were spent on one look"
    wake()
    await asyncio.wait_for(again, 5)


async def test_it_returns_by_itself_after_a_while() -> None:
    await asyncio.wait_for(Wakeup().wait(0.001), 5)


async def test_what_comes_while_it_draws_breath_is_gathered() -> None:
    wake = Wakeup()
    wake()
    waiting = asyncio.create_task(wake.wait(60, breath=0.005))
    await asyncio.sleep(0)
    wake()
    await asyncio.wait_for(waiting, 5)
    again = asyncio.create_task(wake.wait(60))
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()
