"""The dataset card, from the manifest of a build, the figures of a paper and the corpus files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from dialoguellm_release.cards.card import render_card, table
from dialoguellm_release.cards.configs import configs, corpora_in, dataset_info
from dialoguellm_release.cards.dataset_tables import (
    agreement_matrices,
    agreement_picture,
    agreement_table,
    held_out_part_table,
    label_share_table,
    length_table,
    overlap_table,
    pictures,
    reconciliation_table,
    repeats_in_words,
    training_part_table,
)
from dialoguellm_release.cards.licenses import (
    dataset_license_metadata,
    license_overview,
    recipe_of,
    rights_held,
)
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe

COLUMN_NOTES: dict[str, str] = {
    "id": "`corpus/split/dialogue_id/utterance_index`; unique",
    "instruction": "the task, and the labels to choose from",
    "video_description": "what is seen while the utterance is spoken; null where there is none",
    "context": "the utterances before this one in its dialogue, oldest first, as `Speaker: text`, "
    "or `text` where the corpus names no speakers",
    "input": "the utterance to label",
    "output": "the label that is trained and scored",
    "label": "the same as a ClassLabel over the common vocabulary",
    "source_label": "the label as the corpus spells it",
    "other_labels": "further labels that annotators gave",
    "corpus": "the corpus that the record is from",
    "split": "`train`, `validation` or `test`",
    "dialogue_id": "the corpus's own id of the dialogue, unique in its corpus and split",
    "utterance_index": "the utterance's place in its dialogue; a gap means that the corpus left turns out",
    "speaker": "who speaks; null where the corpus does not tell",
    "start_s": "start in the video in seconds; null where there is none",
    "end_s": "end in the video in seconds; null where there is none",
    "license": "the licence of the record's text",
    "leaks": "splits on the other side of the line between training and held-out that share text with the "
    "record, see Leakage",
}
"""What each column holds, for the card's table."""

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
    figures, recipe = manifest.figures, recipe_of(manifest, DatasetRecipe)
    paths = [file.path for file in manifest.outputs]
    present = corpora_in(paths, figures.corpora)
    published = manifest.published
    draws = {name: figures.split_draws[name] for name in present if name in figures.split_draws}
    records = published.records if published else figures.records
    dialogues = published.dialogues if published else figures.dialogues
    content = published.published_sha256 if published else manifest.content_sha256
    listed = configs(paths, tuple(figures.corpora), content, figures.prompt_sha256, manifest.content_sha256)
    languages = languages_of(corpora[name] for name in present)
    works = [work for name in present for work in corpora[name].transcribes]
    metadata: dict[str, object] = {
        **dataset_license_metadata(manifest, corpora),
        **language_metadata(languages),
        "annotations_creators": ["machine-generated" if recipe.synthetic else "found"],
        "language_creators": ["machine-generated" if recipe.synthetic else "found"],
        "task_categories": ["text-classification", "text-generation"],
        "pretty_name": recipe.pretty_name,
        "size_categories": [
            next((name for limit, name in _SIZE_CATEGORIES.items() if sum(records.values()) < limit), "n>10M")
        ],
        "tags": [
            "emotion-recognition-in-conversations",
            "dialogue",
            "instruction-tuning",
            *(["synthetic"] if recipe.synthetic else []),
        ],
        "configs": listed,
        "dataset_info": dataset_info((str(config["config_name"]) for config in listed), figures.class_labels),
    }
    body: dict[str, object] = {
        "manifest": manifest,
        "recipe": recipe,
        "source": source,
        "source_in_shell": shlex.quote(source),
        "owner": source.partition("/")[0] if published else "",
        "languages": languages,
        "example": corpora[present[0]],
        "present": [corpora[name] for name in present],
        "left_out": [corpora[name] for name in published.left_out] if published else [],
        "text_free": [corpora[name] for name in published.standoff] if published else [],
        "skipped": [corpora[name].title for name in figures.skipped],
        "sizes": _sizes_table(records, dialogues),
        "columns": table(("Column", "Holds"), [(f"`{name}`", note) for name, note in COLUMN_NOTES.items()]),
        "class_ids": ", ".join(f"{index} {label}" for index, label in enumerate(figures.class_labels)),
        "labels": [(corpora[name].title, label_table(figures.corpora[name])) for name in present],
        "pictures": pictures(figures, claims, corpora, paths),
        "label_shares": label_share_table(figures, claims),
        "lengths": length_table(figures, corpora),
        **_leakage(figures, corpora, paths),
        "total_records": numbers.count(sum(records.values())),
        "total_dialogues": numbers.count(sum(dialogues.values())),
        "unused": [
            (corpora[name].title, numbers.count(figures.corpora[name].unused.dialogues))
            for name in present
            if figures.corpora[name].unused.dialogues
        ],
        "texts": [(corpora[name].title, corpora[name].description) for name in present],
        "relabelled": table(
            ("From and to", "Records"),
            [(rule, numbers.count(count)) for rule, count in figures.relabelled.items()],
        ),
        "reconciliation": reconciliation_table(figures, claims, corpora),
        "claims": claims,
        "total_is_sum": claims is not None
        and claims.training_dialogues
        == sum(splits["train"].dialogues for splits in claims.corpora.values() if "train" in splits),
        "repairs": _repairs_table(figures, corpora),
        "unknown_files": [
            (corpora[name].title, path) for name, one in figures.corpora.items() for path in one.unknown_files
        ],
        "draws": [
            (corpora[name].title, _draw_settings(draw), _draw_table(draw)) for name, draw in draws.items()
        ],
        "licenses": license_overview(manifest, corpora),
        "rights": rights_held(manifest, corpora),
        "shares_source": len(set(works)) < len(works),
    }
    return render_card("dataset_cards", "dataset.md.jinja", metadata, body)


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


def _leakage(
    figures: DatasetFigures, corpora: Mapping[CorpusName, CorpusEntry], paths: Sequence[str]
) -> dict[str, object]:
    """What the section on leakage shows; `audit` is False where no ledger was made."""
    audit = figures.audit
    if audit is None:
        return {"audit": False}
    return {
        "audit": True,
        "training_parts": training_part_table(figures, corpora),
        "held_out_parts": held_out_part_table(figures, corpora),
        "overlaps": overlap_table(audit),
        "pairs_without_overlap": numbers.count(audit.pairs_without_overlap),
        "duplicates": repeats_in_words(audit.duplicates),
        "conflicts": repeats_in_words(audit.conflicts),
        "agreement": agreement_table(audit, corpora),
        "agreement_picture": agreement_picture(audit, corpora, paths),
        "matrices": agreement_matrices(audit, corpora),
    }


def _sizes_table(records: Mapping[Split, int], dialogues: Mapping[Split, int]) -> str:
    rows = [
        (split, numbers.count(dialogues[split]), numbers.count(records[split]))
        for split in SPLITS
        if split in records
    ]
    return table(("Split", "Dialogues", "Records"), rows)


def label_table(corpus: CorpusFigures) -> str:
    """Records of a corpus per label and split."""
    splits = [split for split in SPLITS if split in corpus.labels]
    rows = [
        (label, *(numbers.count(corpus.labels[split].get(label, 0)) for split in splits))
        for label in corpus.label_space
    ]
    return table(("Label", *splits), rows)


def _repairs_table(figures: DatasetFigures, corpora: Mapping[CorpusName, CorpusEntry]) -> str:
    rows = [
        (corpora[name].title, rule, numbers.count(count))
        for name, corpus in figures.corpora.items()
        for rule, count in corpus.repairs.items()
    ]
    return table(("Corpus", "Rule", "Times"), rows) if rows else ""


def _draw_settings(draw: Mapping[str, JsonValue]) -> list[str]:
    return [
        f"`{key}`: {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in draw.items()
        if not isinstance(value, dict)
    ]


def _draw_table(draw: Mapping[str, JsonValue]) -> str:
    """Dialogues per series and split of a drawn split."""
    series = draw.get("dialogues")
    if not isinstance(series, dict):
        return ""
    columns = (*SPLITS, "unused")
    rows = [
        (name, *(str(counts.get(column, 0)) for column in columns))
        for name, counts in series.items()
        if isinstance(counts, dict)
    ]
    return table(("Series", *columns), rows)
