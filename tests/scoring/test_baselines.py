from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, CorpusName
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.score import score_baseline

SPACE = LABELS[:7]
FEW = ["intervals.resamples=50"]


@pytest.fixture
def scored(audited_dataset: Path, tmp_path: Path) -> Callable[..., ScoreManifest]:
    """The manifest of a baseline on MELD's records."""

    def score(name: Any, dataset: Path = audited_dataset, out: str = "out") -> ScoreManifest:
        return score_baseline("meld", name, dataset, tmp_path / out, overrides=FEW).manifest

    return score


def test_majority_is_the_commonest_label_of_training_not_of_test(
    scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any, predictions_in: Any
) -> None:
    sad = [record for record in dialogues_of("train", 70) if record.output == "sadness"]
    records = {"train": [*sad, dialogues_of("train", 1)[0]], "test": dialogues_of("test", 40)}
    manifest = scored("majority", dataset_of(tmp_path / "dataset", records))
    columns = predictions_in(tmp_path / "out")
    assert set(columns["prediction"]) == {"sadness"}
    assert manifest.figures.metrics["accuracy"] == columns["reference"].count("sadness") / 40
    assert manifest.figures.majority_label == "happiness"
    assert manifest.figures.protocol.selected_on is None
    assert [file.path for file in manifest.inputs] == [
        f"data/meld/{split}-clean-00000-of-00001.parquet" for split in ("train", "test")
    ]


def weighted_f1(reference: Any, answers: Any) -> float:
    """As scikit-learn has it, in a hundredth of the time."""
    is_label, is_answer = ([values == label for label in SPACE] for values in (reference, answers))
    hits, sizes, said = (
        [int(one.sum()) for one in rows]
        for rows in ([a & b for a, b in zip(is_label, is_answer, strict=True)], is_label, is_answer)
    )
    counted = zip(hits, sizes, said, strict=True)
    return sum(size * 2 * hit / (size + all_) for hit, size, all_ in counted if hit) / len(reference)


def test_random_is_scored_by_its_expected_value(scored: Any, predictions_in: Any, tmp_path: Path) -> None:
    from sklearn.metrics import f1_score

    manifest = scored("random")
    figures, columns = manifest.figures, predictions_in(tmp_path / "out")
    assert set(columns["prediction"]) == {"drawn"}
    assert figures.left_to_chance == 40
    assert figures.chances == pytest.approx(dict.fromkeys(SPACE, 1 / 7))  # 70 records, ten of each label
    assert figures.metrics["accuracy"] == pytest.approx(1 / 7)
    assert {columns[f"score_{label}"][0] for label in SPACE} == {10 / 70}
    import numpy as np

    draw = np.random.default_rng(3)
    reference = np.array(columns["reference"])
    thrown = [weighted_f1(reference, draw.choice(SPACE, 40)) for _ in range(600)]
    answers = draw.choice(SPACE, 40)
    expected = f1_score(reference, answers, labels=SPACE, average="weighted", zero_division=0)
    assert weighted_f1(reference, answers) == pytest.approx(expected)
    error = np.std(thrown) / 600**0.5
    assert figures.metrics["weighted_f1"] == pytest.approx(np.mean(thrown), abs=4 * error)


def test_words_that_tell_the_label_are_learned(scored: Any, tmp_path: Path, predictions_in: Any) -> None:
    figures = scored("tfidf").figures
    assert figures.metrics["accuracy"] == 1.0
    assert (figures.protocol.context_k, figures.protocol.leak_policy) == (0, "kept in training")
    assert figures.protocol.selected_on is None
    columns = predictions_in(tmp_path / "out")
    assert sum(columns[f"score_{label}"][0] for label in SPACE) == pytest.approx(1)
    again = scored("tfidf", out="again").figures
    assert again == figures


@pytest.mark.parametrize("name", ["tfidf", "tfidf-context"])
def test_the_fit_ends_at_its_optimum(
    name: str, scored: Any, tmp_path: Path, dialogues_of: Any, predictions_in: Any
) -> None:
    """Short of it, predictions change with the number of threads that add up the gradient."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion

    scored(name)
    columns = predictions_in(tmp_path / "out")
    training, test = dialogues_of("train", 70), dialogues_of("test", 40)

    def block(text: Callable[[Record], str], n: tuple[int, int], **settings: Any) -> TfidfVectorizer:
        return TfidfVectorizer(preprocessor=text, ngram_range=n, min_df=2, sublinear_tf=True, **settings)

    blocks = {
        "words": block(lambda record: record.input.lower(), (1, 2)),
        "characters": block(lambda record: record.input.lower(), (2, 4), analyzer="char_wb"),
        "context": block(lambda record: "\n".join(record.context).lower(), (1, 2)),
    }
    used = [one for one in blocks.items() if one[0] != "context" or name == "tfidf-context"]
    weights = {block: 0.3 if block == "context" else 1 for block, _ in used}
    features = FeatureUnion(used, transformer_weights=weights)
    model = LogisticRegression(C=3.0, solver="newton-cg", tol=1e-13, max_iter=10_000)
    model.fit(features.fit_transform(training), [record.output for record in training])
    optimum = model.predict_proba(features.transform(test)).T
    for label, probabilities in zip(model.classes_, optimum, strict=True):
        assert columns[f"score_{label}"] == pytest.approx(probabilities, abs=1e-7)


def test_punctuation_is_read(scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any) -> None:
    marks = dict(zip(SPACE, ("!", "?", "...", "-", ";", ",", "."), strict=True))

    def marked(split: Any, count: int) -> Any:
        return [
            record.model_copy(update={"context": (), "input": f"I see it {marks[record.output]}"})
            for record in dialogues_of(split, count)
        ]

    dataset = dataset_of(tmp_path / "dataset", {"train": marked("train", 70), "test": marked("test", 40)})
    assert scored("tfidf", dataset).figures.metrics["accuracy"] == 1.0


SCRIPTS = {"Han": ("喜怒怕悲厌惊平", 0x5000), "Kana": ("アイウエオカキ", 0x30B0), "Thai": ("กขคงจฉช", 0x0E15)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_without_spaces_has_words(
    script: str, scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    """No utterance is there twice, so only the character inside them can tell the label."""
    marks, fillers = SCRIPTS[script]
    mark_of = dict(zip(SPACE, marks, strict=True))

    def written(split: Any, count: int) -> list[Record]:
        found = []
        for place, record in enumerate(dialogues_of(split, count)):
            before, after = (chr(fillers + number) for number in divmod(place, 10))
            found.append(record.model_copy(update={"input": f"{before}{mark_of[record.output]}{after}"}))
        return found

    dataset = dataset_of(tmp_path / "dataset", {"train": written("train", 70), "test": written("test", 40)})
    assert scored("tfidf", dataset).figures.metrics["accuracy"] == 1.0


def test_the_context_is_read_only_where_it_is_asked_for(
    scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    """The label stands in the context alone."""

    def hidden(split: Any, count: int) -> Any:
        return [
            record.model_copy(
                update={"context": (f"Robin: They call it {record.output}.",), "input": "I see it."}
            )
            for record in dialogues_of(split, count)
        ]

    dataset = dataset_of(tmp_path / "dataset", {"train": hidden("train", 70), "test": hidden("test", 40)})
    without, within = (scored(name, dataset, name).figures for name in ("tfidf", "tfidf-context"))
    assert without.metrics["accuracy"] < 0.2
    assert within.metrics["accuracy"] == 1.0
    assert (within.protocol.context_k, within.protocol.context_direction) == (1, "past")


def test_a_dataset_without_a_training_split_has_no_baseline(
    scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    dataset = dataset_of(tmp_path / "dataset", {"test": dialogues_of("test", 10)})
    with pytest.raises(DataError, match="no records of config meld, split train"):
        scored("majority", dataset)
    assert not (tmp_path / "out").exists()


def test_a_training_split_of_one_label_does_not_do_for_a_regression(
    scored: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    sad = [record for record in dialogues_of("train", 70) if record.output == "sadness"]
    dataset = dataset_of(tmp_path / "dataset", {"train": sad, "test": dialogues_of("test", 10)})
    with pytest.raises(DataError) as raised:
        scored("tfidf", dataset)
    assert raised.value.problems[0].code == "score.baseline_not_fitted"


NEUTRAL: dict[CorpusName, float] = {"meld": 1256 / 2610, "dailydialog": 6321 / 7740}
"""The share of neutral in the test splits."""


@pytest.mark.corpora
@pytest.mark.parametrize("corpus", NEUTRAL)
def test_majority_on_the_real_corpora(
    corpus: CorpusName, paper_dataset: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    scored = score_baseline(corpus, "majority", paper_dataset.folder, tmp_path / "out", overrides=FEW)
    figures = scored.manifest.figures
    share = NEUTRAL[corpus]
    assert figures.metrics["accuracy"] == pytest.approx(share)
    assert figures.metrics["weighted_f1"] == pytest.approx(2 * share**2 / (1 + share))
    assert figures.metrics["micro_f1_without"] == 0.0


@pytest.mark.parametrize("name", ["foo", "Majority", "", "tf-idf"])
def test_an_unknown_baseline_is_refused(name: Any, tmp_path: Path, small_dataset: Path) -> None:
    with pytest.raises(DataError) as raised:
        score_baseline("meld", name, str(small_dataset), str(tmp_path / "out"))
    assert raised.value.problems[0].where == "baseline"
    assert not (tmp_path / "out").exists()
