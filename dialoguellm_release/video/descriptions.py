"""The descriptions in a video folder, as a dataset takes them in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.folders import combined_sha256, sha256_of_text
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.video.status import read_ledgers


@dataclass(frozen=True)
class Descriptions:
    """Descriptions by record id, and where they are from."""

    texts: dict[str, str]
    provenance: VideoProvenance


def read_descriptions(folder: Path) -> Descriptions:
    """The descriptions in the ledgers of a video folder.

    Raises:
        DataError: There is no ledger, or one cannot be used.
    """
    ledgers = read_ledgers(folder)
    setup = ledgers.setup
    texts: dict[str, str] = {}
    models: Counter[str] = Counter()
    for record in ledgers.records.values():
        if record.answer is not None and record.answer.description is not None:
            texts[record.id] = record.answer.description
            models[record.answer.model or setup.model] += 1
    provenance = VideoProvenance(
        recipe=setup.recipe,
        recipe_sha256=setup.recipe_sha256,
        model=setup.model,
        model_versions=dict(sorted(models.items())),
        prompt=setup.prompt,
        prompt_sha256=setup.prompt_sha256,
        content_sha256=combined_sha256((name, sha256_of_text(text)) for name, text in texts.items()),
        refused=sum(record.state == "refused" for record in ledgers.records.values()),
    )
    return Descriptions(texts, provenance)
