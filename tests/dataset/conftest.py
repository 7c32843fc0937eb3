from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from dialoguellm_release.dataset.context import RecordMaker
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.dialogue import Dialogue, Utterance
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Split
from dialoguellm_release.schemas.manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps import Made, build_dataset

NEUTRAL: tuple[Label, ...] = ("neutral",)


@pytest.fixture
def sources(tmp_path: Path, synthetic_dir: Path) -> Path:
    """A copy of the synthetic corpora that a test may damage."""
    folder = tmp_path / "sources"
    shutil.copytree(synthetic_dir, folder)
    return folder


@pytest.fixture(scope="session")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Made[DatasetManifest]:
    """The dataset of the synthetic corpora; nobody changes it."""
    return build_dataset("demo", out=tmp_path_factory.mktemp("built") / "dataset")


@pytest.fixture(scope="session")
def paper_dataset(corpora_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Made[DatasetManifest]:
    """The dataset of the four real corpora; nobody changes it."""
    return build_dataset(
        "paper", corpora_dir, tmp_path_factory.mktemp("built") / "paper_dataset", skip=["iemocap"]
    )


def make_dialogue(name: str, turns: Sequence[str], labels: Sequence[Label] = (), k: int = 1) -> list[Record]:
    """The records of a dialogue of our own words, named as in `meld/train/12`; neutral without labels."""
    corpus, split, dialogue_id = name.split("/")
    utterances = tuple(
        Utterance(
            index=index, text=text, speaker="Robin" if index % 2 else "Alex", label=label, source_label=label
        )
        for index, (text, label) in enumerate(zip(turns, labels or NEUTRAL * len(turns), strict=True))
    )
    dialogue = Dialogue(
        corpus=cast(CorpusName, corpus), split=cast(Split, split), id=dialogue_id, utterances=utterances
    )
    maker = RecordMaker(load_prompt("dialogue-v1"), "CC0-1.0", LABELS, {}, k)
    return list(maker.records(dialogue, cast(Split, split)))


@pytest.fixture(scope="session")
def dialogue_of() -> Callable[..., list[Record]]:
    """Makes the records of one dialogue from its name, its texts and its labels."""
    return make_dialogue
