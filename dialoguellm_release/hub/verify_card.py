"""Whether a published card states the licence that its sources give."""

from __future__ import annotations

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.licenses import dataset_license_metadata, hub_license
from dialoguellm_release.cards.merge import split_card
from dialoguellm_release.cards.models import adapter_license
from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.copies import Copy
from dialoguellm_release.hub.verdicts import Verdict, not_checked, verdict_on
from dialoguellm_release.schemas.labels import CORPORA
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe

NAME = "card licence"


def license_verdict(copy: Copy) -> Verdict:
    """Whether the licence keys of the card are those of data and base."""
    if copy.dataset:
        expected = dataset_license_metadata(copy.dataset, {name: corpus_entry(name) for name in CORPORA})
        source = "of the corpora in it"
    elif copy.backbone:
        expected = {"license": hub_license(recipe_of(copy.backbone, BackboneRecipe).license)}
        source = "of its recipe"
    elif copy.adapter:
        if copy.place is None:
            return not_checked(NAME, "the dataset and the base are not at hand: a folder stands alone")
        dataset = next((one.dataset for one in copy.linked if one.dataset), None)
        backbone = next((one.backbone for one in copy.linked if one.backbone), None)
        expected = adapter_license(copy.adapter, dataset, backbone)
        source = "of data and base"
    else:
        return not_checked(NAME, "a metric carries no licence of others")
    metadata, _ = split_card((copy.folder / CARD).read_text(encoding="utf-8"))
    problems = [
        Problem(
            f"{CARD}: {key}",
            f"is not the licence {source}",
            expected=str(expected.get(key, "nothing")),
            got=str(metadata.get(key, "nothing")),
        )
        for key in ("license", "license_name", "license_link")
        if metadata.get(key) != expected.get(key)
    ]
    return verdict_on(NAME, problems, f"against that {source}")
