"""Collections of the Hub, which list the repositories of a release on one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast, get_args

from huggingface_hub import Collection as HubCollection
from huggingface_hub import HfApi

from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.hub_errors import NOT_SUPPORTED, hub_errors, retry, status_of
from dialoguellm_release.hub.store import CollectionPage
from dialoguellm_release.schemas.recipes.release import Collection
from dialoguellm_release.schemas.release import RepositoryName, RepoType, repository_name, repository_of


def collection_page(api: HfApi, collection: Collection) -> CollectionPage:
    """The page of a collection, as far as the token may see it."""
    where = _collections_of(api, collection)
    try:
        with hub_errors(f"{where}: {collection.title}"):
            pages = retry(lambda: list(api.list_collections(owner=collection.namespace)))
            slug = next((one.slug for one in pages if one.title == collection.title), None)
            if slug is None:
                return CollectionPage(where, None)
            page = retry(partial(api.get_collection, slug))  # The list has few items of each.
    except PublishError as error:
        if status_of(error.__cause__) not in NOT_SUPPORTED:
            raise
        return CollectionPage(where, None, is_supported=False)
    return CollectionPage(page.url, frozenset(_listed(page)))


def collect(api: HfApi, collection: Collection, description: str, names: Sequence[RepositoryName]) -> bool:
    """Adds repositories to a collection, created if needed; False on a Hub without collections."""
    try:
        with hub_errors(f"{_collections_of(api, collection)}: {collection.title}", writing=True):
            create = partial(api.create_collection, collection.title, namespace=collection.namespace)
            page = retry(partial(create, description=description, exists_ok=True))
            listed = set(_listed(page))
            for name in names:
                if name not in listed:
                    repo_type, repo_id = repository_of(name)
                    retry(partial(api.add_collection_item, page.slug, repo_id, repo_type, exists_ok=True))
    except PublishError as error:
        if status_of(error.__cause__) not in NOT_SUPPORTED:
            raise
        return False
    return True


def _collections_of(api: HfApi, collection: Collection) -> str:
    return f"{api.endpoint}/collections/{collection.namespace}"


def _listed(page: HubCollection) -> Iterator[RepositoryName]:
    """The repositories of a collection, which may have papers and other collections as well."""
    for item in page.items:
        if item.item_type in get_args(RepoType):
            yield repository_name(cast("RepoType", item.item_type), item.item_id)
