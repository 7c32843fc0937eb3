"""Licences: as the Hub spells them, in the metadata of a card, and in full as LICENSE.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dialoguellm_release.cards.card import render_text
from dialoguellm_release.cards.metadata import HUB_LICENSES
from dialoguellm_release.errors import CardError, problems_of
from dialoguellm_release.layout import LICENSES
from dialoguellm_release.schemas.corpus import DISTRIBUTIONS, CorpusEntry, Distribution
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import Manifest
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe

Model = TypeVar("Model", bound=BaseModel)


def recipe_of(manifest: Manifest, model: type[Model]) -> Model:
    """The recipe in a manifest; a CardError where it is not one of this version."""
    try:
        return model.model_validate_json(json.dumps(manifest.recipe.resolved))
    except ValidationError as error:
        where = f"manifest.json of the {manifest.kind} {manifest.recipe.name}"
        fix = f"make the {manifest.kind} again with this version"
        problems = problems_of(error, where, "recipe.resolved", code="card.recipe_of_manifest", fix=fix)
        raise CardError(problems) from error


def hub_license(license_id: str) -> str:
    """The Hub's id of a licence; `other` for one that the Hub does not list.

    >>> hub_license("GPL-3.0-only"), hub_license("CC-BY-NC-SA-4.0"), hub_license("LicenseRef-none")
    ('gpl-3.0', 'cc-by-nc-sa-4.0', 'other')
    """
    hub_id = license_id.lower().removesuffix("-only").removesuffix("-or-later")
    return hub_id if hub_id in HUB_LICENSES else "other"


def license_metadata(license_ids: Iterable[str]) -> dict[str, object]:
    """The licence keys of a dataset: the one licence that covers all of it, else no licence but a link.

    Why: works under several licences that stand side by side are a collection, and no licence covers it.

    >>> license_metadata(["GPL-3.0-only", "Apache-2.0"])
    {'license': 'other', 'license_name': 'each-config-under-its-own', 'license_link': 'LICENSE.md'}
    """
    distinct = sorted(set(license_ids))
    if len(distinct) > 1:
        name = "each-config-under-its-own"
    elif hub_license(distinct[0]) != "other":
        return {"license": hub_license(distinct[0])}
    else:
        name = distinct[0].lower()
    return {"license": "other", "license_name": name, "license_link": LICENSES}


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


HELD: dict[Distribution, str] = {
    "full": "text and labels",
    "standoff": "labels, no text",
    "exclude": "nothing",
}
"""What of a corpus a copy holds, for readers."""


def distributions(manifest: DatasetManifest) -> dict[CorpusName, Distribution]:
    """What a dataset holds of each corpus that was built; a build holds everything."""
    published = manifest.published
    held: dict[CorpusName, Distribution] = dict.fromkeys(manifest.figures.corpora, "full")
    if published:
        held |= dict.fromkeys(published.standoff, "standoff")
        held |= dict.fromkeys(published.left_out, "exclude")
    return held


def corpora_held(manifest: DatasetManifest) -> list[CorpusName]:
    """The corpora of which a dataset holds something: text and labels, or labels alone."""
    return [name for name, what in distributions(manifest).items() if what != "exclude"]


def dataset_license_metadata(
    manifest: DatasetManifest, corpora: Mapping[CorpusName, CorpusEntry]
) -> dict[str, object]:
    """The licence keys of a dataset, from the licences of what it holds."""
    held = distributions(manifest)
    texts = [corpora[name].text_license.id for name, what in held.items() if what == "full"]
    labels = [corpora[name].label_license.id for name, what in held.items() if what != "exclude"]
    return license_metadata([*texts, *labels])


def rights_held(
    manifest: DatasetManifest, corpora: Mapping[CorpusName, CorpusEntry]
) -> list[tuple[str, str]]:
    """Title and right, as the recipe states it, of each corpus that goes further than its licences let it."""
    recipe = recipe_of(manifest, DatasetRecipe)
    asked = recipe.corpora
    return [
        (corpora[name].title, right)
        for name, right in recipe.rights.items()
        if DISTRIBUTIONS.index(asked[name].distribution) > DISTRIBUTIONS.index(corpora[name].allowed)
    ]


def render_licenses(manifest: DatasetManifest, corpora: Mapping[CorpusName, CorpusEntry]) -> str:
    """The text of `LICENSE.md`: each corpus of a dataset with what holds for its text and its labels."""
    held = distributions(manifest)
    body = {
        "recipe": recipe_of(manifest, DatasetRecipe),
        "held": held,
        "words": HELD,
        "corpora": [corpora[name] for name in held],
        "rights": dict(rights_held(manifest, corpora)),
    }
    return render_text("dataset_cards", "licenses.md.jinja", body)
