"""Which request goes where: method, address, the name by which faults call it, and the function."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.hub_server import collections, downloads, repositories, uploads, xet
from tests.hub_server.wire import Handler

_ID = r"([\w.-]+/[\w.-]+)"
_API = rf"/api/(models|datasets|spaces)/{_ID}"
_FILES = rf"/(datasets/|spaces/|){_ID}"
_ONE = r"([^/]+)"
_HASH = r"([0-9a-f]{64})"


@dataclass(frozen=True)
class Endpoint:
    method: str
    pattern: re.Pattern[str]
    kind: str
    handler: Handler


def _endpoint(methods: str, pattern: str, kind: str, handler: Handler) -> list[Endpoint]:
    return [Endpoint(method, re.compile(pattern), kind, handler) for method in methods.split()]


ENDPOINTS = [
    *_endpoint("GET", r"/api/whoami-v2", "whoami", repositories.who_am_i),
    *_endpoint("POST", r"/api/validate-yaml", "validate_yaml", uploads.validate_card),
    *_endpoint("POST", r"/api/repos/create", "create_repo", repositories.create_repository),
    *_endpoint("DELETE", r"/api/repos/delete", "delete_repo", repositories.delete_repository),
    *_endpoint("POST", r"/api/collections", "create_collection", collections.create_collection),
    *_endpoint("GET", r"/api/collections", "list_collections", collections.list_collections),
    *_endpoint("GET", r"/api/collections/(.+)", "collection", collections.tell_of_collection),
    *_endpoint("POST", r"/api/collections/(.+)/items?", "add_item", collections.add_item),
    *_endpoint("GET", rf"{_API}/refs", "refs", repositories.list_refs),
    *_endpoint("GET", rf"{_API}/auth-check(/write)?", "auth_check", repositories.check_access),
    *_endpoint("PUT", rf"{_API}/settings", "settings", repositories.change_settings),
    *_endpoint("GET", rf"{_API}/commits/{_ONE}", "commits", repositories.list_commits),
    *_endpoint("GET", rf"{_API}/tree/{_ONE}(/.+)?", "tree", repositories.list_tree),
    *_endpoint("POST", rf"{_API}/paths-info/{_ONE}", "paths_info", repositories.tell_of_paths),
    *_endpoint("POST", rf"{_API}/preupload/{_ONE}", "preupload", uploads.say_how_to_upload),
    *_endpoint("POST", rf"{_API}/commit/{_ONE}", "commit", uploads.commit),
    *_endpoint("POST", rf"{_API}/tag/{_ONE}", "create_tag", repositories.create_tag),
    *_endpoint("DELETE", rf"{_API}/tag/{_ONE}", "delete_tag", repositories.delete_tag),
    *_endpoint("POST", rf"{_API}/branch/{_ONE}", "create_branch", repositories.create_branch),
    *_endpoint("DELETE", rf"{_API}/branch/{_ONE}", "delete_branch", repositories.delete_branch),
    *_endpoint("GET", _API, "info", repositories.tell_of_repository),
    *_endpoint("GET", rf"{_API}/revision/{_ONE}", "info", repositories.tell_of_repository),
    *_endpoint("POST", rf"{_FILES}\.git/info/lfs/objects/batch", "lfs_batch", uploads.start_lfs),
    *_endpoint("POST", rf"{_FILES}\.git/info/lfs/objects/verify", "lfs_verify", uploads.verify_lfs),
    *_endpoint("POST", rf"{_FILES}\.git/info/lfs/objects/complete", "lfs_complete", uploads.complete_lfs),
    *_endpoint("PUT", r"/lfs-storage/([0-9a-f]{64})", "lfs_upload", uploads.take_lfs),
    *_endpoint("PUT", r"/lfs-storage/([0-9a-f]{64})/parts/(\d+)", "lfs_upload", uploads.take_lfs_part),
    *_endpoint("HEAD GET", rf"{_FILES}/resolve/{_ONE}/(.+)", "resolve", downloads.resolve),
    *_endpoint("GET", rf"{_API}/xet-write-token/{_ONE}", "xet_write_token", xet.give_write_token),
    *_endpoint("GET", rf"{_API}/xet-read-token/{_ONE}", "xet_read_token", xet.give_read_token),
    *_endpoint("POST", rf"/v1/xorb-grants/default/{_HASH}", "xet_grant", xet.refuse_grant),
    *_endpoint("GET", rf"/v1/chunks/default(?:-merkledb)?/{_HASH}", "xet_chunk", xet.find_chunk),
    *_endpoint("POST", rf"/v1/xorbs/default/{_HASH}", "xet_upload", xet.take_xorb),
    *_endpoint("POST", r"/v1/shards?", "xet_shard", xet.take_shard),
    *_endpoint("GET", rf"/v1/reconstructions/{_HASH}", "xet_reconstruction", xet.reconstruct),
    *_endpoint("GET", rf"/xorb-data/{_HASH}", "xet_download", xet.give_xorb),
    *_endpoint("POST", r"/v1/telemetry", "xet_telemetry", xet.take_telemetry),
    *_endpoint("HEAD GET", r"/cdn/([0-9a-f]{64})", "cdn", downloads.from_cdn),
]


def find_endpoint(method: str, path: str) -> tuple[Endpoint, tuple[str, ...]] | None:
    """The endpoint of a request and the parts of its address; revisions in it are still quoted."""
    for endpoint in ENDPOINTS:
        if endpoint.method == method and (match := endpoint.pattern.fullmatch(path)):
            return endpoint, tuple(part for part in match.groups() if part is not None)
    return None
