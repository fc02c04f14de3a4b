"""Uploaded documents: for the other members, and for the engine of this node, which fetches them as it fetches any link."""

import hmac

from aiohttp import web

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import NotFound, PayloadTooLarge
from ariacluster.wire import routes as paths
from ariacluster_node.services.documents import Documents

from .answers import answer
from .peers import require_member

routes = web.RouteTableDef()

DOCUMENTS: web.AppKey[Documents] = web.AppKey("documents", Documents)

PASS: web.AppKey[str] = web.AppKey("pass", str)


def open_to(app: web.Application, documents: Documents, word: str) -> None:
    """Let `app` serve them; the engine shows `word`, which nobody else knows."""
    app[DOCUMENTS] = documents
    app[PASS] = word
    app.add_routes(routes)


@routes.put(paths.PEER_DOCUMENT)
async def accept(request: web.Request) -> web.Response:
    require_member(request)
    parts, left = [], MAX_DOCUMENT
    while part := await request.content.read(64 * 1024):
        left -= len(part)
        if left < 0:
            raise PayloadTooLarge(f"A document may have {MAX_DOCUMENT:,} bytes.")
        parts.append(part)
    await request.app[DOCUMENTS].accept(request.match_info["digest"], b"".join(parts))
    return answer({"message": "kept"})


@routes.get(paths.PEER_DOCUMENT)
async def give(request: web.Request) -> web.Response:
    require_member(request)
    data = await request.app[DOCUMENTS].give(request.match_info["digest"])
    return web.Response(body=data, content_type="application/octet-stream")


@routes.get(paths.ENGINE_DOCUMENT)
async def give_engine(request: web.Request) -> web.Response:
    """It carries no header of ours: aria2 would send it on to whatever the document leads to."""
    if not hmac.compare_digest(request.match_info["word"].encode(), request.app[PASS].encode()):
        raise NotFound("There is no such document.")
    data = await request.app[DOCUMENTS].give(request.match_info["name"].partition(".")[0])
    torrent = request.match_info["name"].endswith(".torrent")
    kind = "application/x-bittorrent" if torrent else "application/metalink4+xml"
    return web.Response(body=data, content_type=kind)
