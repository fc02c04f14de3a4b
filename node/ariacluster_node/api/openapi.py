"""The API described by itself: OpenAPI 3.1, made of the types that the code works with, and a page that shows it."""

from functools import cache
from importlib import resources
from typing import Any, get_args

import msgspec
from aiohttp import web

from ariacluster import __version__
from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire import problems
from ariacluster.wire import routes as paths

from .answers import known
from .operations import ALWAYS, OPERATIONS, WITH_BODY, Json, Operation, Parameter

routes = web.RouteTableDef()

Shapes = dict[Any, Json]

REF = "#/components/schemas/{name}"

HEADERS: Json = {
    "X-Total-Count": {"description": "How many there are in all.", "schema": {"type": "integer", "minimum": 0}},
    "Link": {
        "description": 'The next page, as `rel="next"` (RFC 8288); none on the last one.',
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the new task is to be found.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which another try is worth it.", "schema": {"type": "string"}},
    paths.STALE: {
        "description": "`true` while nobody vouches for the answer, so that it may be old.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}

ABOUT = """One download queue over all machines of a LAN. Every node answers the same for the whole cluster.

Sizes are bytes, speeds bytes per second, times RFC 3339 in UTC. Errors are problem documents (RFC 9457): `code` is for
programs, `detail` says what to do, `field` names the input at fault. Bodies are JSON, and fields and parameters that there are
not are refused. What is answered 2xx to a write is on the disks of a majority."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

FILES = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}


@cache
def document() -> Json:
    """The whole description."""
    types = {problems.Problem}
    for operation in OPERATIONS:
        types |= {kind for kind in (_answer_type(operation), operation.body) if kind is not None and kind is not str}
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REF)
    of: Shapes = dict(zip(ordered, schemas, strict=True))
    described: Json = {}
    for operation in OPERATIONS:
        described.setdefault(operation.path, {})[operation.method] = _operation(operation, of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aria Cluster",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": described,
        "components": {"schemas": dict(sorted(components.items())), "headers": HEADERS},
    }


def _answer_type(operation: Operation) -> Any:
    return operation.answer[-1] if isinstance(operation.answer, tuple) else operation.answer


def _operation(operation: Operation, of: Shapes) -> Json:
    words = operation.path.replace("{id}", "one").strip("/").replace(".", "/").split("/")
    described: Json = {
        "operationId": "_".join([operation.method, *words]),
        "tags": [operation.path.split("/")[1].split(".")[0]],
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(operation.status): _answer(operation, of)} | _refusals(operation, of),
    }
    if operation.body is not None:
        media: Json = {"schema": of[operation.body]}
        if operation.example is not None:
            media["example"] = operation.example
        described["requestBody"] = {"required": operation.body_required, "content": {"application/json": media}}
    return described


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.told,
        "schema": parameter.schema,
    }


def _answer(operation: Operation, of: Shapes) -> Json:
    names = [*operation.headers, *([paths.STALE] if operation.read else [])]
    kind = _answer_type(operation)
    if isinstance(operation.answer, tuple):
        # What such a body has inside is described, but it is no JSON document itself.
        told = (
            "Each event's data is one of: " + ", ".join(part.__name__ for part in get_args(kind)) + "."
            if kind is not str
            else ""
        )
        content = {
            media: {"schema": {"type": "string", "description": told} if told else {"type": "string"}}
            for media in operation.answer[:-1]
        }
    else:
        content = {"application/json": {"schema": of[kind]}}
    described: Json = {"description": "As asked.", "content": content}
    if names:
        described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return described


def _refusals(operation: Operation, of: Shapes) -> Json:
    """Of all errors with one status: what they are, and one as an example."""
    errors = [*ALWAYS, *operation.refusals, *(WITH_BODY if operation.body is not None else ())]
    by_status: dict[int, list[type[AriaClusterError]]] = {}
    for error in sorted(set(errors), key=lambda error: (error.status, error.code)):
        by_status.setdefault(error.status, []).append(error)
    described: Json = {}
    for status, kinds in by_status.items():
        examples = {
            error.code: {
                "value": {"title": error.title, "status": status, "detail": f"{error.title}.", "code": error.code}
            }
            for error in kinds
        }
        described[str(status)] = {
            "description": "; ".join(f"`{error.code}`: {error.title}" for error in kinds),
            "content": {problems.CONTENT_TYPE: {"schema": of[problems.Problem], "examples": examples}},
        }
        if status == 503:
            described[str(status)]["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return described


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath("docs_page", name).read_bytes()


@routes.get(paths.OPENAPI)
async def openapi(request: web.Request) -> web.Response:
    known(of=request)
    return web.Response(body=_encoded(), content_type="application/json")


@routes.get(paths.DOCS)
async def page(request: web.Request) -> web.Response:
    known(of=request)
    return _page("page.html")


@routes.get(paths.DOCS + "/page.js")
async def script(_: web.Request) -> web.Response:
    return _page("page.js")


@routes.get(paths.DOCS + "/page.css")
async def style(_: web.Request) -> web.Response:
    return _page("page.css")


def _page(name: str) -> web.Response:
    return web.Response(
        body=_file(name), content_type=FILES[name], charset="utf-8", headers={"Content-Security-Policy": PAGE_POLICY}
    )
