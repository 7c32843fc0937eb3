"""What must hold of a Hub whatever happened to a publish: a tag stands on nothing that is not whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from tests.hub_server.store import PREFIX, Commit, Repository, Store


def broken_tags(store: Store) -> list[str]:
    """Everything under a tag that is not what its `release.json` says; empty where all is well."""
    return [
        f"{repository.repo_id}@{tag}: {fault}"
        for repository in store.repositories.values()
        for tag, oid in repository.tags.items()
        for fault in _faults(store, repository.commits[oid], tag)
    ]


def release_commits(repository: Repository) -> list[str]:
    """The titles of the commits on the branch that are not the Hub's first one, newest first."""
    return [commit.title for commit in repository.history(repository.head) if commit.parent]


def _faults(store: Store, commit: Commit, tag: str) -> Iterator[str]:
    if "release.json" not in commit.files:
        yield "has no release.json"
        return
    release = json.loads(commit.files["release.json"].content)
    stated = {file["path"]: file["sha256"] for file in release["files"]}
    held = {
        path: hashlib.sha256(file.content).hexdigest()
        for path, file in commit.files.items()
        if path not in (".gitattributes", "release.json")
    }
    yield from (
        f"{path} is not as stated" for path in stated.keys() | held if stated.get(path) != held.get(path)
    )
    named = {PREFIX[one.repo_type] + one.repo_id: one for one in store.repositories.values()}
    for link in release["depends_on"]:
        other = named.get(link["repository"])
        if other is None or link["commit"] not in other.commits:
            yield f"names a commit of {link['repository']} that is not there"
        elif other.tags.get(tag) != link["commit"]:
            yield f"names {link['commit']}, but the tag of {link['repository']} is at {other.tags.get(tag)}"
