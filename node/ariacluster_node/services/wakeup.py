"""A loop's alarm: woken by whatever changed, or after a while, and never more often than it can use."""

import asyncio


class Wakeup:
    """Many wake-ups before the loop looks count as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self, at_most: float, *, breath: float = 0.0) -> None:
        """Return when woken, or after `at_most` seconds; a woken loop first takes a `breath` (s) to gather more."""
        try:
            async with asyncio.timeout(at_most):
                await self._event.wait()
        except TimeoutError:
            pass
        else:
            if breath:
                await asyncio.sleep(breath)
        self._event.clear()
