"""A small dataset in our own words, for what trains and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dialoguellm_release.folders import canonical_json, sha256_of_text, stamps, write_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, Label, Split
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import Record

LABEL_SPACE = LABELS[:7]
_WORDS: dict[Label, str] = {
    "happiness": "happy",
    "anger": "angry",
    "fear": "afraid",
    "sadness": "sad",
    "disgust": "disgusted",
    "surprise": "surprised",
    "neutral": "here",
}
_THINGS = (
    "the house",
    "the school",
    "my job",
    "this party",
    "the music",
    "our trip",
    "that letter",
    "the dog",
)


def make_records(split: Split, count: int) -> list[Record]:
    """Records of our own words, whose label can be told from one word of the input."""
    prompt = load_prompt("dialogue-v1")
    records = []
    for index in range(count):
        label = LABEL_SPACE[index % 7]
        thing = _THINGS[index // 7 % 8]
        context = (f"Robin: I heard about {thing}.",) if index % 3 else ()
        records.append(
            Record(
                id=f"meld/{split}/{index}/1",
                instruction=prompt.instruction(LABEL_SPACE, has_video=False, has_context=bool(context)),
                video_description=None,
                context=context,
                input=f"I am {_WORDS[label]} because of {thing}" + "!" * (index % 5),
                output=label,
                label=label,
                source_label=label,
                other_labels=(),
                corpus="meld",
                split=split,
                dialogue_id=str(index),
                utterance_index=1,
                speaker="Alex",
                start_s=None,
                end_s=None,
                license="Apache-2.0",
                leaks=None,
            )
        )
    return records


def write_dataset(folder: Path, records: Mapping[Split, Sequence[Record]]) -> Path:
    """A dataset folder with the columns and the manifest that training and scoring read."""
    prompt = load_prompt("dialogue-v1")
    for split, rows in records.items():
        path = folder / "data" / "meld" / f"{split}-clean-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = [row.model_dump() | {"label": LABELS.index(row.label)} for row in rows]
        pq.write_table(pa.Table.from_pylist(data, schema=_RECORD_SCHEMA), path)
    contents = sha256_of_text("".join(canonical_json(row) for rows in records.values() for row in rows))
    figures = DatasetFigures(
        records={split: len(rows) for split, rows in records.items()},
        dialogues={},
        corpora={"meld": _CORPUS_FIGURES},
        skipped=(),
        context_k=1,
        prompt=prompt.name,
        prompt_sha256=prompt.sha256,
        relabelled={},
        reconciliation=(),
    )
    manifest = DatasetManifest(
        created_by={},
        recipe=load_recipe("demo", "dataset", DatasetRecipe).stamp,
        inputs=(),
        outputs=stamps(folder),
        content_sha256=contents,
        figures=figures,
    )
    write_manifest(folder, manifest)
    return folder


_TEXTS = pa.list_(pa.string())
_RECORD_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("instruction", pa.string()),
        ("video_description", pa.string()),
        ("context", _TEXTS),
        ("input", pa.string()),
        ("output", pa.string()),
        ("label", pa.int64()),
        ("source_label", pa.string()),
        ("other_labels", _TEXTS),
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("dialogue_id", pa.string()),
        ("utterance_index", pa.int64()),
        ("speaker", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("license", pa.string()),
        ("leaks", _TEXTS),
    ]
)
_CORPUS_FIGURES = CorpusFigures(
    license="Apache-2.0",
    may_redistribute=True,
    label_space=LABEL_SPACE,
    files=(),
    unknown_files=(),
    repairs={},
    unused=Sizes(dialogues=0, utterances=0),
    splits={},
    labels={},
    content_sha256={},
)
