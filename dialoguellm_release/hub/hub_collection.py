"""The page of the Hub that shows the repositories of a release side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast, get_args

from huggingface_hub import Collection as Page
from huggingface_hub import HfApi

from dialoguellm_release.hub.hub_client import patiently, told
from dialoguellm_release.hub.targets import CollectionPage
from dialoguellm_release.schemas.recipes.release import Collection
from dialoguellm_release.schemas.release import RepositoryName, RepoType, repository_name, repository_of


def page_of(api: HfApi, collection: Collection) -> CollectionPage:
    """The page of a collection, as far as the token may see it."""
    where = _pages_of(api, collection)
    with told(f"{where}: {collection.title}"):
        pages = patiently(lambda: list(api.list_collections(owner=collection.namespace)))
        slug = next((one.slug for one in pages if one.title == collection.title), None)
        if slug is None:
            return CollectionPage(where, None)
        page = patiently(partial(api.get_collection, slug))  # the listing shows a few items of each
    return CollectionPage(page.url, frozenset(_listed(page)))


def collect(api: HfApi, collection: Collection, description: str, names: Sequence[RepositoryName]) -> None:
    """Lists repositories on the page of a collection, which is made where it is not there."""
    with told(f"{_pages_of(api, collection)}: {collection.title}"):
        page = patiently(
            lambda: api.create_collection(
                collection.title, namespace=collection.namespace, description=description, exists_ok=True
            )
        )
        listed = set(_listed(page))
        for name in names:
            if name not in listed:
                repo_type, repo_id = repository_of(name)
                patiently(partial(api.add_collection_item, page.slug, repo_id, repo_type, exists_ok=True))


def _pages_of(api: HfApi, collection: Collection) -> str:
    return f"{api.endpoint}/collections/{collection.namespace}"


def _listed(page: Page) -> Iterator[RepositoryName]:
    """The repositories on a page, which may show papers and other pages as well."""
    for item in page.items:
        if item.item_type in get_args(RepoType):
            yield repository_name(cast("RepoType", item.item_type), item.item_id)
