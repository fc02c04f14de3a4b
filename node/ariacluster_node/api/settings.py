"""How the cluster goes about its work, as people set it."""

from aiohttp import web

from ariacluster.wire import routes as paths
from ariacluster.wire.requests import SettingsPatch

from .answers import abreast, answer, body_of, look, read

routes = web.RouteTableDef()


@routes.get(paths.SETTINGS)
async def show(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.policies.show())


@routes.patch(paths.SETTINGS)
async def change(request: web.Request) -> web.Response:
    patch = await body_of(request, SettingsPatch)
    services = await abreast(request)
    return answer(await services.policies.change(patch))
