"""Names of hosts, looked up in threads of their own: a silent name server holds up neither this node's files nor its end."""

import asyncio
import contextlib
import socket
import threading

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE = 16
"""Look-ups under way; whoever comes when as many hang is refused at once."""


class Names(AbstractResolver):
    """Fills aiohttp's resolver. The system's own look-up cannot be cancelled: its thread goes on until it gives up, keeps its
    place until then, and ends with the program."""

    def __init__(self) -> None:
        self._under_way = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def tell(results: list[ResolveResult], error: OSError | None) -> None:
            self._under_way -= 1
            if found.done():
                return  # nobody waits for it any more
            if error is None:
                found.set_result(results)
            else:
                found.set_exception(error)

        def look_up() -> None:
            results: list[ResolveResult] = []
            failure: OSError | None = None
            try:
                results = _look_up(host, port, family)
            except OSError as error:
                failure = error
            except UnicodeError as error:  # a name that cannot be one
                failure = OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, results, failure)

        if self._under_way >= AT_ONCE:
            raise OSError("The name server does not answer.")
        self._under_way += 1
        threading.Thread(target=look_up, name="name look-up", daemon=True).start()
        return await found

    async def close(self) -> None:
        """What is under way ends by itself."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    ]
