import asyncio
from unittest.mock import Mock

import msgspec
import pytest
from aiohttp import StreamReader
from aiohttp.test_utils import make_mocked_request

from ariacluster.domain.errors import AriaClusterError, InvalidInput, NoLeader, UnsupportedMediaType
from ariacluster.wire.requests import TaskCreate
from ariacluster_node.api.answers import answer, body_of, problem


async def read(body: bytes, content_type: str = "application/json", shape: type = TaskCreate) -> object:
    payload = StreamReader(Mock(), 2**16, loop=asyncio.get_running_loop())
    payload.feed_data(body)
    payload.feed_eof()
    request = make_mocked_request("POST", "/tasks", headers={"Content-Type": content_type}, payload=payload)
    return await body_of(request, shape)


async def refused(body: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await read(body)
    return caught.value


async def test_a_body_becomes_its_shape() -> None:
    assert await read(b'{"url": "http://x"}') == TaskCreate(url="http://x")
    assert await read(b"{}", "application/json; charset=utf-8") == TaskCreate()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_only_json_is_read(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        await read(b"{}", content_type)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"url": 5}', "url"),
        (b'{"urls": ["a", 5]}', "urls[1]"),
        (b'{"tags": {"a": 5}}', "tags[...]"),
        (b"[]", None),
    ],
)
async def test_a_wrong_value_names_its_field(body: bytes, field: str | None) -> None:
    error = await refused(body)
    assert error.field == field
    assert error.detail.startswith("Expected ")
    assert "$" not in error.detail


async def test_an_unknown_field_is_named() -> None:
    error = await refused(b'{"url": "http://x", "colour": "red"}')
    assert (error.field, error.detail) == ("colour", "There is no field 'colour' here.")


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    x: int = 0


class Outer(msgspec.Struct):
    inner: Inner


async def test_an_unknown_field_further_inside_is_named_with_its_way() -> None:
    with pytest.raises(InvalidInput) as caught:
        await read(b'{"inner": {"y": 1}}', shape=Outer)
    assert caught.value.field == "inner.y"


@pytest.mark.parametrize("body", [b"", b"{", b'{"url": "\xff"}', b"{} x"])
async def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    assert (await refused(body)).detail.startswith("The body is not JSON: ")


def test_a_problem_says_what_it_is_and_when_to_come_again() -> None:
    response = problem(NoLeader("Nobody leads."))
    assert (response.status, response.content_type) == (503, "application/problem+json")
    assert response.headers["Retry-After"] == "1"
    assert isinstance(response.body, bytes)
    told = msgspec.json.decode(response.body)
    assert told == {"title": NoLeader.title, "status": 503, "detail": "Nobody leads.", "code": "no_leader"}


def test_a_problem_names_the_field_and_promises_nothing() -> None:
    response = problem(InvalidInput("Wrong.", field="url"))
    assert "Retry-After" not in response.headers
    assert isinstance(response.body, bytes)
    assert msgspec.json.decode(response.body)["field"] == "url"
    assert problem(AriaClusterError("x")).status == 500


def test_an_answer_is_json_with_its_headers() -> None:
    response = answer({"a": 1}, status=201, headers={"Location": "/x"})
    assert (response.status, response.content_type, response.body) == (201, "application/json", b'{"a":1}')
    assert response.headers["Location"] == "/x"
