"""Licence ids as the Hub spells them, and what a card's metadata says of several licences."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED = """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0
    c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m
    deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
    fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research
    intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3
    llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail
    openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""

HUB_LICENSES = frozenset(_LISTED.split())
"""The ids that the Hub documents for the key `license` of a card."""


def hub_license(license_id: str) -> str:
    """The Hub's id of a licence; `other` for one that the Hub does not list.

    Args:
        license_id: An SPDX id, a `LicenseRef-` of our own, or already a Hub id.

    >>> hub_license("GPL-3.0-only"), hub_license("CC-BY-NC-SA-4.0"), hub_license("LicenseRef-none")
    ('gpl-3.0', 'cc-by-nc-sa-4.0', 'other')
    """
    hub_id = license_id.lower().removesuffix("-only").removesuffix("-or-later")
    return hub_id if hub_id in HUB_LICENSES else "other"


def license_metadata(license_ids: Iterable[str]) -> dict[str, object]:
    """The keys `license` and, beside `other`, `license_name` of a dataset that holds several works."""
    distinct = list(dict.fromkeys(license_ids))
    hub_ids = list(dict.fromkeys(map(hub_license, distinct)))
    metadata: dict[str, object] = {"license": hub_ids[0] if len(hub_ids) == 1 else hub_ids}
    unlisted = [license_id.lower() for license_id in distinct if hub_license(license_id) == "other"]
    if unlisted:
        metadata["license_name"] = "-and-".join(unlisted)
    return metadata


def derived_license_metadata(license_ids: Iterable[str | None]) -> dict[str, object]:
    """The licence keys of a work made from others: theirs if it is one and the same, else none is claimed.

    Args:
        license_ids: Of the works that it was made from; None for one that is not known here.
    """
    sources = set(license_ids)
    hub_ids = {"other" if license_id is None else hub_license(license_id) for license_id in sources}
    if len(sources) == 1 and hub_ids != {"other"}:
        return {"license": hub_ids.pop()}
    return {"license": "other", "license_name": "see-base-model-and-data"}
