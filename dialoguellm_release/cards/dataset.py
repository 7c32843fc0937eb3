"""The dataset card, from the manifest of a build, the figures of a paper and the corpus files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from dialoguellm_release.cards.card import render_card
from dialoguellm_release.cards.licenses import (
    HELD,
    corpora_held,
    dataset_license_metadata,
    distributions,
    recipe_of,
    rights_held,
)
from dialoguellm_release.cards.metadata import configs, corpora_in
from dialoguellm_release.layout import AGREEMENT_FIGURE, AUDIT, COUNT_FIGURES
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import COLUMN_NOTES

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

    Args:
        claims: The paper's figures to set beside the built ones; None for none.
        corpora: The registry's entries of the corpora in the build and in the claims.
        source: What the loading lines give to `load_dataset`: a repository id or a folder, but not `.`,
            which it cannot read.
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
