from __future__ import annotations

from collections.abc import Callable

import pytest

from dialoguellm_release.cards.dataset import dataset_license_metadata, license_metadata, render_licenses
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName

Registry = dict[CorpusName, CorpusEntry]
COLLECTION = {
    "license": "other",
    "license_name": "each-config-under-its-own",
    "license_link": "LICENSE.md",
}


@pytest.fixture
def private(published: DatasetManifest) -> DatasetManifest:
    """A copy with all text of one corpus by a right, and the rows of another without their text."""
    resolved = published.recipe.resolved | {
        "corpora": {
            "meld": {"distribution": "standoff"},
            "meisd": {
                "distribution": "full",
                "split": {"seed": 1, "dialogues": {"train": 5, "validation": 0, "test": 2}},
            },
        },
        "rights": {"meisd": "The authors allowed it by letter."},
    }
    assert published.published is not None
    return published.model_copy(
        update={
            "recipe": published.recipe.model_copy(update={"resolved": resolved}),
            "published": published.published.model_copy(update={"left_out": (), "standoff": ("meld",)}),
        }
    )


def test_the_licences_of_a_copy_are_told_in_full(
    private: DatasetManifest, registry: Registry, golden: Callable[[str, str], None]
) -> None:
    golden("cards/LICENSE.md", render_licenses(private, registry))


def test_each_corpus_says_what_of_it_is_here(
    dataset: DatasetManifest, published: DatasetManifest, private: DatasetManifest, registry: Registry
) -> None:
    def here(manifest: DatasetManifest) -> dict[str, tuple[str, str]]:
        rows = [line.split(" | ") for line in render_licenses(manifest, registry).splitlines()]
        return {
            row[0].removeprefix("| "): (row[1], row[4].removesuffix(" |")) for row in rows if len(row) == 5
        }

    everything = ("`meld`", "text and labels"), ("`meisd`", "text and labels")
    assert (here(dataset)["MELD"], here(dataset)["MEISD"]) == everything
    assert (here(published)["MELD"], here(published)["MEISD"]) == (everything[0], ("none", "nothing"))
    assert (here(private)["MELD"], here(private)["MEISD"]) == (
        ("`standoff`", "labels, no text"),
        everything[1],
    )


def test_a_right_that_was_not_needed_is_not_shown(dataset: DatasetManifest, registry: Registry) -> None:
    resolved = dataset.recipe.resolved | {"rights": {"meld": "I asked."}}
    recipe = dataset.recipe.model_copy(update={"resolved": resolved})
    assert "I asked." not in render_licenses(dataset.model_copy(update={"recipe": recipe}), registry)


@pytest.mark.parametrize(
    ("ids", "metadata"),
    [
        (["GPL-3.0-only", "GPL-3.0-only"], {"license": "gpl-3.0"}),
        (["GPL-3.0-only", "Apache-2.0"], COLLECTION),
        (["Apache-2.0", "LicenseRef-a"], COLLECTION),
        (
            ["LicenseRef-a"],
            {"license": "other", "license_name": "licenseref-a", "license_link": "LICENSE.md"},
        ),
    ],
)
def test_no_licence_is_made_up_for_the_union(ids: list[str], metadata: dict[str, object]) -> None:
    assert license_metadata(ids) == metadata
    assert license_metadata(ids[::-1]) == metadata


def test_text_that_is_not_here_does_not_count(private: DatasetManifest, registry: Registry) -> None:
    changed = registry["meld"].text_license.model_copy(update={"id": "MIT"})
    registry = registry | {"meld": registry["meld"].model_copy(update={"text_license": changed})}
    alone = private.figures.model_copy(update={"corpora": {"meld": private.figures.corpora["meld"]}})
    part = private.model_copy(update={"figures": alone})
    assert dataset_license_metadata(part, registry) == {"license": "gpl-3.0"}
