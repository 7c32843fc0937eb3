"""Who may do what: tokens, their owners, and what a repository lets them do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.hub_server.store import Repository


@dataclass(frozen=True)
class Token:
    """An access token.

    Attributes:
        organizations: In which its owner may write.
        is_expired: The Hub treats it like one that it never gave out.
    """

    user: str
    role: Literal["read", "write"] = "write"
    organizations: tuple[str, ...] = ()
    is_expired: bool = False

    def may_write_in(self, namespace: str) -> bool:
        return self.role == "write" and self.owns(namespace)

    def owns(self, namespace: str) -> bool:
        return namespace == self.user or namespace in self.organizations


@dataclass
class Accounts:
    """The tokens of a Hub, by their secret."""

    tokens: dict[str, Token] = field(default_factory=dict)

    def add(self, secret: str, token: Token) -> str:
        self.tokens[secret] = token
        return secret

    def valid(self, secret: str) -> Token | None:
        token = self.tokens.get(secret)
        return None if token is None or token.is_expired else token


def may_read(token: Token | None, repository: Repository) -> bool:
    return repository.visibility == "public" or (token is not None and token.owns(repository.owner))
