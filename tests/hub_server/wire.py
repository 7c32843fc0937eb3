"""A request and its answer, as the endpoints see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.hub_server.accounts import Accounts, Token
from tests.hub_server.store import Store


@dataclass(frozen=True)
class Hub:
    """What every endpoint may look at.

    Attributes:
        url: The address of the Hub.
        cdn_url: The same server under another host name, as a CDN is to the Hub.
        page_size: Entries in one page of a listing.
        chunk_size: LFS files above this size are uploaded in parts; None for none.
    """

    url: str
    cdn_url: str
    store: Store
    accounts: Accounts
    page_size: int = 1000
    chunk_size: int | None = None

    @property
    def xet_url(self) -> str:
        """The address of the Xet storage."""
        return self.store.xet_url or self.cdn_url


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    token: Token | None

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    def asks(self, name: str) -> str | None:
        """A value of the query; None where it is not there."""
        return parse_qs(self.query).get(name, [None])[0]


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[..., Answer]


class Refused(Exception):
    """An answer that ends a request at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.status)


def as_json(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(data).encode(), content | dict(headers or {}))


def refused(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None, **more: str
) -> Refused:
    """A refusal in the Hub's form; `code` decides which exception a client raises."""
    stated = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return Refused(as_json({"error": message, **more}, status, stated | dict(headers or {})))
