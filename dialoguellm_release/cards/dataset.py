"""The dataset card, and the licences of what a dataset holds: as the Hub spells them, and in full."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dialoguellm_release.cards.card import render_card, render_text
from dialoguellm_release.cards.metadata import HUB_LICENSES, configs, corpora_in
from dialoguellm_release.errors import CardError, problems_of
from dialoguellm_release.layout import AGREEMENT_FIGURE, AUDIT, COUNT_FIGURES, LICENSES
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import DISTRIBUTIONS, CorpusEntry, Distribution
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName
from dialoguellm_release.schemas.manifests import Manifest
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import COLUMN_NOTES

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
    """The licence keys of a work made from others: theirs if it is known, one and the same, else none."""
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


_SIZE_CATEGORIES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}


def render_dataset_card(
    manifest: DatasetManifest,
    claims: ClaimsRecipe | None,
    corpora: Mapping[CorpusName, CorpusEntry],
    source: str = "build/dataset",
) -> str:
    """The `README.md` of a dataset folder; the files that `manifest.outputs` lists decide its configs.

    `source` is what its loading lines give to `load_dataset`: a repository id or a folder, but not `.`, which
    that cannot read.
    """
    figures, recipe, published = manifest.figures, recipe_of(manifest, DatasetRecipe), manifest.published
    paths = [file.path for file in manifest.outputs]
    present = corpora_in(paths, figures.corpora)
    records = published.records if published else figures.records
    works = [work for name in present for work in corpora[name].transcribes]
    body: dict[str, object] = {
        "manifest": manifest,
        "figures": figures,
        "audit": figures.audit,
        "audit_file": AUDIT if AUDIT in paths else None,
        "recipe": recipe,
        "corpora": corpora,
        "claims": claims,
        "splits": SPLITS,
        "source": source,
        "source_in_shell": shlex.quote(source),
        "owner": source.partition("/")[0] if published else "",
        "languages": languages_of(corpora[name] for name in corpora_held(manifest)),
        "held": {name: HELD[what] for name, what in distributions(manifest).items()},
        "present": [corpora[name] for name in present],
        "left_out": [corpora[name] for name in published.left_out] if published else [],
        "text_free": [corpora[name] for name in published.standoff] if published else [],
        "longest_context": max(map(figures.context_of, figures.corpora)),
        "records": records,
        "dialogues": published.dialogues if published else figures.dialogues,
        "columns": COLUMN_NOTES,
        "pictures": [path for path in COUNT_FIGURES if path in paths],
        "agreements": [one for one in figures.audit.agreement if one.utterances] if figures.audit else [],
        "agreement_picture": AGREEMENT_FIGURE if AGREEMENT_FIGURE in paths else None,
        "comparison": _comparison(figures, claims, corpora),
        "total_is_sum": claims is not None
        and claims.training_dialogues
        == sum(splits["train"].dialogues for splits in claims.corpora.values() if "train" in splits),
        "draws": {name: figures.split_draws[name] for name in present if name in figures.split_draws},
        "as_json": json.dumps,
        "rights": rights_held(manifest, corpora),
        "shares_source": len(set(works)) < len(works),
    }
    return render_card("dataset_cards", "dataset.md.jinja", _metadata(manifest, corpora, recipe), body)


def _metadata(
    manifest: DatasetManifest, corpora: Mapping[CorpusName, CorpusEntry], recipe: DatasetRecipe
) -> dict[str, object]:
    """The front matter; without the columns, which `datasets` reads from the schema of the Parquet files."""
    figures, published = manifest.figures, manifest.published
    paths = [file.path for file in manifest.outputs]
    languages = languages_of(corpora[name] for name in corpora_held(manifest))
    creators = ["machine-generated" if recipe.synthetic else "found"]
    total = sum((published.records if published else figures.records).values())
    content = published.published_sha256 if published else manifest.content_sha256
    return {
        **dataset_license_metadata(manifest, corpora),
        **language_metadata(languages),
        "annotations_creators": creators,
        "language_creators": creators,
        "task_categories": ["text-classification", "text-generation"],
        "pretty_name": recipe.pretty_name,
        "size_categories": [
            next((name for limit, name in _SIZE_CATEGORIES.items() if total < limit), "n>10M")
        ],
        "tags": [
            "emotion-recognition-in-conversations",
            "dialogue",
            "instruction-tuning",
            *(["synthetic"] if recipe.synthetic else []),
        ],
        "configs": configs(
            paths, tuple(figures.corpora), content, figures.prompt_sha256, manifest.content_sha256
        ),
    }


def languages_of(entries: Iterable[CorpusEntry]) -> list[str]:
    """The BCP 47 tags of the languages that corpus files state."""
    return sorted({tag for entry in entries for tag in entry.languages})


def language_metadata(tags: Iterable[str]) -> dict[str, object]:
    """The language keys of a dataset card: ISO 639 codes, by which the Hub filters, and the whole tags.

    >>> language_metadata(["hi-Latn"])
    {'language': ['hi'], 'language_details': ['hi-Latn'], 'multilinguality': ['monolingual']}
    """
    details = sorted(tags)
    codes = sorted({tag.partition("-")[0] for tag in details})
    if not codes:
        return {}
    more = {"language_details": details} if details != codes else {}
    many = "mono" if len(codes) == 1 else "multi"
    return {"language": codes, **more, "multilinguality": [f"{many}lingual"]}


def _comparison(
    figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Mapping[CorpusName, CorpusEntry]
) -> list[Sequence[str]]:
    """One row a corpus and split, then the training total; cells are dialogues / utterances.

    What the claims state of a corpus that was not built gets a row as well.
    """
    rows: list[Sequence[str]] = []
    for row in figures.reconciliation:
        differs = any(side not in (None, row.built) for side in (row.paper, row.public))
        reason = row.reason or ("not explained" if differs else "")
        title = corpora[row.corpus].title
        rows.append(
            (
                title,
                row.split,
                numbers.sizes(row.paper),
                numbers.sizes(row.public),
                numbers.sizes(row.built),
                reason,
            )
        )
    known = {(row.corpus, row.split) for row in figures.reconciliation}
    rows += [
        (corpora[corpus].title, split, numbers.sizes(sizes), "-", "not built", "not part of this build")
        for corpus, splits in (claims.corpora if claims else {}).items()
        for split, sizes in splits.items()
        if (corpus, split) not in known
    ]
    return [*rows, _total(figures, claims, corpora)]


def _total(
    figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Mapping[CorpusName, CorpusEntry]
) -> Sequence[str]:
    """The training dialogues of all corpora; of one whose public files tell no count, the paper's."""
    built = numbers.sizes(Sizes(dialogues=figures.dialogues["train"], utterances=figures.records["train"]))
    if claims is None:
        return ("**all**", "train", "-", "-", built, "")
    training = {row.corpus: row for row in figures.reconciliation if row.split == "train"}
    paper = {name: splits["train"].dialogues for name, splits in claims.corpora.items() if "train" in splits}
    public = {name: row.public.dialogues for name, row in training.items() if row.public}
    of_paper = [corpora[name].title for name in paper if name not in public]
    differences = [
        f"{corpora[name].title} {difference:+,}"
        for name, count in paper.items()
        if (difference := (training[name].built.dialogues if name in training else 0) - count)
    ]
    total = f"{numbers.count(sum((paper | public).values()))} dialogues"
    return (
        "**all**",
        "train",
        f"{numbers.count(claims.training_dialogues)} dialogues" if claims.training_dialogues else "-",
        f"{total}, with the paper's own count of {', '.join(of_paper)}" if of_paper else total,
        built,
        ", ".join(differences),
    )
