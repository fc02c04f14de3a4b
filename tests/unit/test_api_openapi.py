"""The description of the API: it has every route and no other, it is whole, and its page asks nobody else for anything."""

import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgspec
import pytest

from ariacluster.domain.errors import AriaClusterError, by_code
from ariacluster.wire import routes as paths
from ariacluster.wire.problems import Problem
from ariacluster_node.api import events as events_api
from ariacluster_node.api import metrics as metrics_api
from ariacluster_node.api.app import make_app
from ariacluster_node.api.gate import opened
from ariacluster_node.api.openapi import document
from ariacluster_node.api.operations import OPERATIONS
from ariacluster_node.services.measures import Measures
from tests.support.fake_site import FakeSite

NOT_FOR_PEOPLE = "/peers/"
METHODS = {"get", "post", "patch", "put", "delete"}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    site = FakeSite()
    [node] = await site.up("m")
    app = make_app(node.services)
    events_api.open_to(app, node.hub)
    metrics_api.open_to(app, Measures(node.replica), node.hub)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with opened(app, taken):
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_every_route_is_described_and_no_other() -> None:
    site = FakeSite()
    [node] = await site.up("m")
    app = make_app(node.services)
    events_api.open_to(app, node.hub)
    metrics_api.open_to(app, Measures(node.replica), node.hub)
    served = {
        (route.method.lower(), path)
        for route in app.router.routes()
        if route.resource and route.method.lower() in METHODS
        for path in _plain(route.resource.canonical)
        if not path.startswith((NOT_FOR_PEOPLE, paths.DOCS + "/"))
    }
    described = {(method, path) for path, methods in document()["paths"].items() for method in methods}
    assert served == described


def _plain(path: str) -> list[str]:
    """The verbs are one route, and a path each for people."""
    return [path.replace("{verb}", verb) for verb in paths.TASK_VERBS] if "{verb}" in path else [path]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_it_is_whole() -> None:
    api = document()
    for reference in references(api):
        found: Any = api
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    ids = [about["operationId"] for methods in api["paths"].values() for about in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in api["paths"].items():
        for about in methods.values():
            named = {parameter["name"] for parameter in about["parameters"] if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_its_examples_are_good() -> None:
    for operation in OPERATIONS:
        if operation.body is not None:
            assert operation.example is not None, operation.path
            msgspec.convert(operation.example, operation.body)
    for methods in document()["paths"].values():
        for about in methods.values():
            for status, answer in about["responses"].items():
                for media in answer["content"].values():
                    for code, example in media.get("examples", {}).items():
                        problem = msgspec.convert(example["value"], Problem)
                        assert (str(problem.status), problem.code) == (status, code)
                        assert by_code(code) is not AriaClusterError


async def test_the_page_asks_nobody_else(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path, kind in (("", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            async with session.get(f"{url}/docs{path}") as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                text = await answer.text()
                assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)
                assert "innerHTML" not in text
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy and "unsafe" not in policy
        async with session.get(f"{url}/openapi.json") as answer:
            assert await answer.json() == msgspec.json.decode(msgspec.json.encode(document()))
