"""Errors carry a stable code and find their class by it."""

import pytest

from ariacluster.domain import errors
from ariacluster.domain.errors import AriaClusterError, by_code


def tree(cls: type[AriaClusterError]) -> list[type[AriaClusterError]]:
    return [cls, *(below for child in cls.__subclasses__() for below in tree(child))]


OURS = [cls for cls in tree(AriaClusterError) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_each_code_finds_its_class(cls: type[AriaClusterError]) -> None:
    assert by_code(cls.code) is cls
    assert 400 <= cls.status < 600
    assert cls.title


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in OURS]
    assert len(set(codes)) == len(codes) > 15


def test_a_code_from_a_newer_version_is_still_an_error() -> None:
    assert by_code("not_invented_yet") is AriaClusterError


def test_an_error_tells_its_detail_and_field() -> None:
    error = errors.InvalidInput("Give a url.", field="urls[3]")
    assert (str(error), error.detail, error.field, error.status) == ("Give a url.", "Give a url.", "urls[3]", 400)
    assert errors.NoLeader("x").field is None
