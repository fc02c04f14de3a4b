"""The node's program as its next version might be: it understands one command more. `python -m tests.support.next_version …`

The command is `shout`, which gives a member another name; `POST /shout {"node": …, "name": …}` says it. With `"rashly": true`
the node does not ask first whether all the others understand it.
"""

from typing import Any

import msgspec

from ariacluster.domain import commands, table
from ariacluster.domain.rows import Rows


class Shout(msgspec.Struct, frozen=True, tag="shout"):
    node: str
    name: str


def _shout(rows: Rows, command: Shout, _at: int) -> commands.Outcome:
    rows.put_member(msgspec.structs.replace(rows.members[command.node], name=command.name))
    return None


class Proposal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    at: int
    by: str
    commands: tuple[commands.Command | Shout, ...]
    v: int = 1
    who: str = ""


# Before anything that is made of them is imported.
patched: Any = commands
patched.Proposal = Proposal
patched.LANGUAGE = NEXT = commands.LANGUAGE + 1
commands.SINCE[Shout] = NEXT
table.HANDLERS[Shout] = _shout

from aiohttp import web  # noqa: E402

from ariacluster_node import main as program  # noqa: E402
from ariacluster_node.api.answers import SERVICES, Services, answer  # noqa: E402
from ariacluster_node.api.app import make_app  # noqa: E402
from ariacluster_node.services.replica import Replica  # noqa: E402


class Order(msgspec.Struct):
    node: str
    name: str
    rashly: bool = False


async def shout(request: web.Request) -> web.Response:
    order = msgspec.json.decode(await request.read(), type=Order)
    replica: Any = request.app[SERVICES].replica
    check = Replica._check_language
    if order.rashly:
        replica._check_language = lambda commands: None
    try:
        await replica.change(Shout(order.node, order.name))
    finally:
        replica._check_language = check.__get__(replica)
    return answer({"shouted": True})


def app_of_the_next_version(services: Services, **settings: Any) -> web.Application:
    app = make_app(services, **settings)
    app.router.add_post("/shout", shout)
    return app


if __name__ == "__main__":
    patched_program: Any = program
    patched_program.make_app = app_of_the_next_version
    patched_program.__version__ = "0.2.0"
    program.main()
