"""The Xet storage of the local Hub, as far as `hf_xet` needs it: tokens, xorbs, shards, reconstructions.

The formats are those of the public specification (https://huggingface.co/docs/xet): a xorb is a sequence of
chunks, each with a header of 8 bytes; a shard says of which chunks a file consists. Grants for uploads are
answered by 404, after which the client sends xorbs to `/v1/xorbs`. Chunks must come uncompressed
(`CLIENT_SETTINGS`), as the standard library has no LZ4.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

from tests.hub_server.access import find_repository, find_to_write
from tests.hub_server.store import Repository
from tests.hub_server.wire import Answer, Hub, Request, as_json, refused

CLIENT_SETTINGS = {
    "HF_XET_DATA_XORB_COMPRESSION_POLICY": "none",
    "HF_XET_XORB_COMPRESSION_POLICY": "none",
    "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
    "HF_XET_TELEMETRY_ENABLED": "0",
}
"""Variables for `hf_xet`: no compression, and short waits between attempts."""

_TOKEN = "xet-token"
_ENTRY = 48
_END = b"\xff" * 32
_VERIFIED, _WITH_SHA256 = 1 << 31, 1 << 30


def give_write_token(hub: Hub, request: Request, plural: str, repo_id: str, _revision: str) -> Answer:
    find_to_write(hub, request, plural, repo_id)
    return _token(hub)


def give_read_token(hub: Hub, request: Request, plural: str, repo_id: str, _revision: str) -> Answer:
    find_repository(hub, request, plural, repo_id)
    return _token(hub)


def _token(hub: Hub) -> Answer:
    expires = int(time.time()) + 3600
    headers = {
        "X-Xet-Cas-Url": hub.xet_url,
        "X-Xet-Access-Token": _TOKEN,
        "X-Xet-Token-Expiration": str(expires),
    }
    return as_json({"casUrl": hub.xet_url, "accessToken": _TOKEN, "exp": expires}, headers=headers)


def refuse_grant(_hub: Hub, _request: Request, _xorb: str) -> Answer:
    raise refused(404, "this storage gives no grants")


def find_chunk(_hub: Hub, _request: Request, _chunk: str) -> Answer:
    raise refused(404, "no such chunk is known from other repositories")


def take_telemetry(_hub: Hub, _request: Request) -> Answer:
    return Answer()


def take_xorb(hub: Hub, request: Request, xorb: str) -> Answer:
    _check_token(request)
    list(_chunks(request.body))
    is_new = xorb not in hub.store.xorbs
    hub.store.xorbs[xorb] = request.body
    return as_json({"was_inserted": is_new})


def take_shard(hub: Hub, request: Request) -> Answer:
    """Registers the files of a shard; their content is then known by its SHA-256, as by LFS."""
    _check_token(request)
    for file_hash, segments, sha256 in _files_of_shard(request.body):
        content = b"".join(_segment(hub, *segment) for segment in segments)
        found = hashlib.sha256(content).digest()
        if sha256 not in (None, found, _reordered(found)):
            raise refused(400, "the chunks of the shard are not the file")
        hub.store.xet_files[file_hash] = segments
        hub.store.xet_hashes[found.hex()] = file_hash
        hub.store.lfs[found.hex()] = content
    return as_json({"result": 1})


def reconstruct(hub: Hub, request: Request, file_hash: str) -> Answer:
    """Of which parts of which xorbs a file, or a range of it, consists."""
    _check_token(request)
    segments = hub.store.xet_files.get(file_hash)
    if segments is None:
        raise refused(404, "no such file")
    size = sum(length for _, length, _, _ in segments)
    if request.headers.get("range", "").startswith(f"bytes={size}-"):
        return Answer(416)
    terms, fetch = [], dict[str, list[dict[str, Any]]]()
    for xorb, length, start, end in segments:
        terms.append({"hash": xorb, "unpacked_length": length, "range": {"start": start, "end": end}})
        spans = [(begin, stop) for begin, stop, _ in _chunks(hub.store.xorbs[xorb])][start:end]
        fetch.setdefault(xorb, []).append(
            {
                "range": {"start": start, "end": end},
                "url": f"{hub.xet_url}/xorb-data/{xorb}",
                "url_range": {"start": spans[0][0], "end": spans[-1][1] - 1},
            }
        )
    return as_json({"offset_into_first_range": 0, "terms": terms, "fetch_info": fetch})


def give_xorb(hub: Hub, request: Request, xorb: str) -> Answer:
    """A range of a xorb, as from a CDN."""
    content = hub.store.xorbs[xorb]
    first, last = request.headers["range"].removeprefix("bytes=").split("-")
    part = content[int(first) : int(last) + 1]
    return Answer(206, part, {"Content-Range": f"bytes {first}-{last}/{len(content)}"})


def xet_headers(hub: Hub, repository: Repository, sha256: str | None, commit: str) -> dict[str, str]:
    """What tells a client that it may download a file by Xet; nothing for one that was not sent so."""
    file_hash = hub.store.xet_hashes.get(sha256 or "")
    if file_hash is None:
        return {}
    route = f"{hub.url}/api/{repository.repo_type}s/{repository.repo_id}/xet-read-token/{commit}"
    return {"X-Xet-Hash": file_hash, "X-Xet-Refresh-Route": route}


def _check_token(request: Request) -> None:
    if request.headers.get("authorization") != f"Bearer {_TOKEN}":
        raise refused(401, "not a token of this storage")


def _chunks(xorb: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Begin, end and content of each chunk of a xorb."""
    at = 0
    while at < len(xorb):
        length, scheme = int.from_bytes(xorb[at + 1 : at + 4], "little"), xorb[at + 4]
        if scheme:
            raise refused(400, f"compression scheme {scheme} is not supported here")
        yield at, at + 8 + length, xorb[at + 8 : at + 8 + length]
        at += 8 + length


def _segment(hub: Hub, xorb: str, length: int, start: int, end: int) -> bytes:
    if xorb not in hub.store.xorbs:
        raise refused(400, f"xorb {xorb} was not uploaded")
    content = b"".join(chunk for _, _, chunk in list(_chunks(hub.store.xorbs[xorb]))[start:end])
    if len(content) != length:
        raise refused(400, "a segment has another length than its chunks")
    return content


Segment = tuple[str, int, int, int]


def _files_of_shard(shard: bytes) -> Iterator[tuple[str, list[Segment], bytes | None]]:
    """Hash, segments and SHA-256 of each file of a shard."""
    at = _ENTRY
    while shard[at : at + 32] != _END:
        file_hash, flags = _hex(shard[at : at + 32]), _u32(shard, at + 32)
        count = _u32(shard, at + 36)
        entries = [at + _ENTRY * (1 + index) for index in range(count)]
        segments = [
            (_hex(shard[one : one + 32]), _u32(shard, one + 36), _u32(shard, one + 40), _u32(shard, one + 44))
            for one in entries
        ]
        at += _ENTRY * (1 + count + (count if flags & _VERIFIED else 0))
        sha256 = None
        if flags & _WITH_SHA256:
            sha256, at = shard[at : at + 32], at + _ENTRY
        yield file_hash, segments, sha256


def _u32(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "little")


def _reordered(digest: bytes) -> bytes:
    """A hash whose text is written as four little-endian numbers."""
    return b"".join(digest[at : at + 8][::-1] for at in range(0, 32, 8))


def _hex(digest: bytes) -> str:
    return _reordered(digest).hex()
