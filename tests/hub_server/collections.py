"""The endpoints of collections."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tests.hub_server.access import no_rights
from tests.hub_server.store import Collection, Visibility
from tests.hub_server.wire import Answer, Hub, Request, as_json, refused

LISTED_ITEMS = 4
"""So many items of each collection stand in a listing (`HfApi.list_collections`)."""


def create_collection(hub: Hub, request: Request) -> Answer:
    asked = request.data
    if request.token is None or not request.token.may_write_in(asked["namespace"]):
        raise no_rights(request)
    name = re.sub(r"[^a-z0-9]+", "-", asked["title"].lower()).strip("-")
    slug = f"{asked['namespace']}/{name}-{len(hub.store.collections):024x}"
    for held in hub.store.collections.values():
        if (held.owner, held.title) == (asked["namespace"], asked["title"]):
            raise refused(409, "Collection already exists", slug=held.slug)
    visibility: Visibility = "private" if asked.get("private") else "public"
    made = Collection(slug, asked["title"], asked["namespace"], visibility, asked.get("description", ""))
    hub.store.collections[slug] = made
    return _tell(hub, made)


def list_collections(hub: Hub, request: Request) -> Answer:
    """Those of an owner that the token may see, each with its first items only, as on the Hub."""
    owner = request.asks("owner")
    is_member = request.token is not None and owner is not None and request.token.may_write_in(owner)
    held = [one for one in hub.store.collections.values() if one.owner == owner]
    seen = [one for one in held if is_member or one.visibility == "public"]
    return as_json([_shown(hub, one, LISTED_ITEMS) for one in seen])


def tell_of_collection(hub: Hub, _request: Request, slug: str) -> Answer:
    return _tell(hub, _find(hub, slug))


def add_item(hub: Hub, request: Request, slug: str) -> Answer:
    collection = _find(hub, slug)
    if request.token is None or not request.token.may_write_in(collection.owner):
        raise no_rights(request)
    item = request.data["item"]
    if (item["type"], item["id"]) not in hub.store.repositories:
        raise refused(404, "Item not found")
    if item in [{"id": one["id"], "type": one["type"]} for one in collection.items]:
        raise refused(409, "Item already in collection")
    collection.items.append({**item, "_id": f"{len(collection.items):024x}"})
    return _tell(hub, collection)


def _find(hub: Hub, slug: str) -> Collection:
    collection = hub.store.collections.get(unquote(slug))
    if collection is None:
        raise refused(404, "Collection not found")
    return collection


def _tell(hub: Hub, collection: Collection) -> Answer:
    return as_json({**_shown(hub, collection, len(collection.items)), "position": 0})


def _shown(hub: Hub, collection: Collection, items: int) -> dict[str, object]:
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"type": "org", "name": collection.owner},
        "lastUpdated": "2026-11-01T00:00:00.000Z",
        "private": collection.visibility == "private",
        "theme": "blue",
        "upvotes": 0,
        "url": f"{hub.url}/collections/{collection.slug}",
        "items": [
            {
                "_id": item["_id"],
                "id": item["id"],
                "type": item["type"],
                "repoType": item["type"],
                "position": position,
            }
            for position, item in enumerate(collection.items[:items])
        ],
    }
