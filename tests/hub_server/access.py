"""Finds what a request names, and refuses in the Hub's words where it may not be seen or changed."""

from __future__ import annotations

from typing import cast

from tests.hub_server.accounts import may_read
from tests.hub_server.store import Commit, Repository, RepoType
from tests.hub_server.wire import Hub, Refused, Request, refused


def repo_type_of(plural: str) -> RepoType:
    """`datasets` is `dataset`; a model's addresses have no such word outside of the API."""
    return cast("RepoType", (plural or "models").strip("/").removesuffix("s"))


def find_repository(hub: Hub, request: Request, plural: str, repo_id: str) -> Repository:
    """The repository, if the token may read it.

    On the Hub the answer without a token is 401 and a client tells by the https address what is meant;
    the code in the header makes the same of it over http.
    """
    repository = hub.store.repositories.get((repo_type_of(plural), repo_id))
    if repository is None or not may_read(request.token, repository):
        raise refused(404 if request.token else 401, "Repository not found", "RepoNotFound")
    return repository


def find_to_write(hub: Hub, request: Request, plural: str, repo_id: str) -> Repository:
    """The repository, if the token may change it."""
    repository = find_repository(hub, request, plural, repo_id)
    if request.token is None:
        raise refused(401, "Invalid username or password.")
    if not request.token.may_write_in(repository.owner):
        raise no_rights(request)
    return repository


def no_rights(request: Request) -> Refused:
    role = request.token.role if request.token else "no"
    return refused(403, f"You don't have the rights: this {role} token may not write here")


def find_commit(repository: Repository, revision: str) -> Commit:
    commit = repository.at(revision)
    if commit is None:
        raise refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit
