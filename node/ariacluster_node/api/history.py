"""What happened in the cluster, and by whose word."""

from aiohttp import web

from ariacluster.wire import routes as paths

from .answers import known, look, number, read, words

routes = web.RouteTableDef()


@routes.get(paths.HISTORY)
async def history(request: web.Request) -> web.Response:
    known("task", "node", "kind", "before", "limit", "fresh", of=request)
    services = await look(request)
    entries = services.histories.query(
        task=request.query.get("task") or None,
        node=request.query.get("node") or None,
        kinds=words(request.query.get("kind")),
        before=number(request, "before", default=0, least=1, most=2**62) or None,
        limit=number(request, "limit", default=paths.DEFAULT_LIMIT, least=1, most=paths.MAX_LIMIT),
    )
    return read(services, entries)
