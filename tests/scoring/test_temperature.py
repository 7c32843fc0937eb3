"""The temperature of an adapter: found where it was planted, refused where nothing determines it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dialoguellm_release.cli.main import app
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import file_problems, read_calibration, read_manifest, stamps, write_manifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import CALIBRATION, AdapterManifest, Calibration, ScoreManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.calibrate import fit_temperature
from dialoguellm_release.scoring.probabilities import AnswerProbabilities
from dialoguellm_release.steps.score import ModelChoice, calibrate_adapter, score


def planted(temperature: float, records: int = 20_000, seed: int = 3) -> AnswerProbabilities:
    """Probabilities that are too sure by a temperature: references are drawn from them with it."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(scale=2, size=(records, 7))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    references = (true.cumsum(1) > draw.random((records, 1))).argmax(1)
    powers = np.exp(temperature * logits)
    values = powers / powers.sum(1, keepdims=True)
    return AnswerProbabilities(values, references, values.argmax(1), np.arange(records))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_planted_temperature_is_found(temperature: float) -> None:
    from scipy.optimize import minimize_scalar

    found = planted(temperature)
    fitted = fit_temperature(found, "here")
    assert fitted == pytest.approx(temperature, rel=0.02)
    least = minimize_scalar(lambda log: found.at(math.exp(log)).nll(), bounds=(-3, 3), method="bounded")
    assert fitted == pytest.approx(math.exp(least.x), rel=1e-3)


def test_probabilities_of_zero_and_one_are_borne_where_the_reference_has_neither() -> None:
    found = planted(2.0, 2_000)
    values = np.where(found.values < 1e-4, 0, found.values)
    right = values[np.arange(2_000), found.references] > 0
    kept = AnswerProbabilities(values, found.references, found.answers, found.dialogues).part(right)
    assert 1 < fit_temperature(kept, "here") < 3


def one_label(found: AnswerProbabilities) -> AnswerProbabilities:
    return AnswerProbabilities(found.values, found.references * 0, found.answers, found.dialogues)


def perfect(found: AnswerProbabilities) -> AnswerProbabilities:
    return AnswerProbabilities(found.values, found.answers, found.answers, found.dialogues)


def hopeless(found: AnswerProbabilities) -> AnswerProbabilities:
    return AnswerProbabilities(found.values, found.values.argmin(1), found.answers, found.dialogues)


def impossible(found: AnswerProbabilities) -> AnswerProbabilities:
    certain = np.eye(7)[found.answers]
    return AnswerProbabilities(certain, found.references, found.answers, found.dialogues)


def few(found: AnswerProbabilities) -> AnswerProbabilities:
    return found.part(np.arange(len(found.references)) < 99)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (one_label, "one_label"),
        (perfect, "not_determined"),
        (hopeless, "not_determined"),
        (impossible, "zero_probability"),
        (few, "too_few_records"),
    ],
)
def test_records_that_determine_no_temperature_are_refused(
    change: Callable[[AnswerProbabilities], AnswerProbabilities], code: str
) -> None:
    with pytest.raises(DataError) as raised:
        fit_temperature(change(planted(2.0, 500)), "here")
    assert [one.code for one in raised.value.problems] == [f"calibration.{code}"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, dialogues_of: Any, dataset_of: Any) -> Path:
    """140 validation records, 120 of them clean."""
    splits: tuple[tuple[Split, int], ...] = (("train", 20), ("validation", 140), ("test", 40))
    records: dict[Split, list[Record]] = {split: dialogues_of(split, count) for split, count in splits}
    records["validation"] = [
        one.model_copy(update={"leaks": () if place < 120 else ("meld/train",)})
        for place, one in enumerate(records["validation"])
    ]
    folder: Path = dataset_of(tmp_path_factory.mktemp("datasets") / "calibrated", records)
    return folder


@pytest.fixture(scope="module")
def scores(
    tmp_path_factory: pytest.TempPathFactory, tiny_adapter: Path, tiny_backbone: Path, dataset: Path
) -> Path:
    """The validation score of the adapter, with probabilities in its place that are too sure."""
    above = tmp_path_factory.mktemp("scores")
    model = ModelChoice(tiny_adapter, None, tiny_backbone.parent, above / "cache")
    settings = ["split=validation", "intervals.resamples=20"]
    folder = score("meld", dataset, model, above / "validation", overrides=settings).folder
    reworked(folder)
    return folder


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_adapter, tmp_path / "adapter")


def reworked(folder: Path) -> None:
    """Gives a score folder probabilities that are too sure, and a manifest that fits them."""
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    names = [name for name in table.column_names if name.startswith("score_")]
    found = planted(2.5, len(table), seed=11)
    labels = np.array([name.removeprefix("score_") for name in names])
    columns = {name: pa.array(found.values[:, place]) for place, name in enumerate(names)}
    columns |= {
        "prediction": pa.array(labels[found.answers]),
        "reference": pa.array(labels[found.references]),
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)
    manifest = read_manifest(folder, ScoreManifest)
    write_manifest(folder, manifest.model_copy(update={"outputs": stamps(folder)}))


def test_a_calibration_is_kept_beside_the_adapter_and_changes_no_step(
    adapter: Path, scores: Path, dataset: Path, run: Any, tmp_path: Path
) -> None:
    assert (
        read_manifest(run("test", dataset=dataset, adapter=adapter), ScoreManifest).figures.calibrated is None
    )
    before = {path.name: path.read_bytes() for path in adapter.iterdir() if path.is_file()}
    done = CliRunner().invoke(app, ["score", "calibrate", str(scores), "--adapter", str(adapter), "--json"])
    assert done.exit_code == 0, done.output
    after = {path.name: path.read_bytes() for path in adapter.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {CALIBRATION}
    manifest = read_manifest(adapter, AdapterManifest)
    found = read_calibration(adapter, manifest)
    assert found == Calibration.model_validate_json(done.stdout)
    assert found is not None
    assert not list(file_problems(adapter, manifest))
    assert (found.corpus, found.split, found.records) == ("meld", "validation", 120)
    assert found.temperature == pytest.approx(2.5, rel=0.3)
    assert found.after.nll < found.before.nll
    assert found.after.ece < found.before.ece
    assert calibrate_adapter(scores, adapter) == found

    figures = read_manifest(run("test", dataset=dataset, adapter=adapter), ScoreManifest).figures
    assert figures.calibrated is not None
    assert figures.uncalibrated is None
    assert figures.probabilities is not None
    assert figures.calibrated.temperature == found.temperature
    assert figures.calibrated.all != figures.probabilities.all
    assert figures.calibrated.selected[0].metrics == figures.metrics
    report = (tmp_path / "test" / "README.md").read_text(encoding="utf-8")
    assert f"temperature {found.temperature:.4f}" in report


@pytest.mark.parametrize("change", [{"corpus": "emorynlp"}, {"scorer": "full_likelihood"}])
def test_a_calibration_of_another_corpus_or_scorer_is_not_applied_and_the_score_says_so(
    change: dict[str, Any], adapter: Path, scores: Path, dataset: Path, run: Any, tmp_path: Path
) -> None:
    found = calibrate_adapter(scores, adapter).model_copy(update=change)
    (adapter / CALIBRATION).write_text(found.model_dump_json(), encoding="utf-8")
    figures = read_manifest(run("test", dataset=dataset, adapter=adapter), ScoreManifest).figures
    assert figures.probabilities is not None
    assert figures.calibrated is None
    assert figures.uncalibrated is not None
    assert figures.uncalibrated.startswith(
        f"no calibration for meld: that of the adapter is of {found.corpus}"
    )
    assert figures.uncalibrated in figures.warnings
    assert figures.uncalibrated in (tmp_path / "test" / "README.md").read_text(encoding="utf-8")


def test_another_calibration_stays_unless_it_may_be_replaced(adapter: Path, scores: Path) -> None:
    found = calibrate_adapter(scores, adapter)
    other = found.model_copy(update={"temperature": 1.5})
    (adapter / CALIBRATION).write_text(other.model_dump_json(), encoding="utf-8")
    with pytest.raises(DataError) as raised:
        calibrate_adapter(scores, adapter)
    assert raised.value.problems[0].code == "calibration.finished"
    assert calibrate_adapter(scores, adapter, replace=True) == found
    text = (adapter / CALIBRATION).read_text(encoding="utf-8")
    assert json.loads(text)["temperature"] == found.temperature


def test_what_is_no_validation_score_of_this_adapter_is_refused(
    adapter: Path, dataset: Path, run: Any
) -> None:
    scores = run("generated", "split=test", "scorer=constrained_generation", dataset=dataset, adapter=adapter)
    (scores / "predictions.parquet").unlink()
    manifest = read_manifest(adapter, AdapterManifest)
    write_manifest(adapter, manifest.model_copy(update={"content_sha256": "0" * 64}))
    with pytest.raises(DataError) as raised:
        calibrate_adapter(scores, adapter)
    assert [one.code for one in raised.value.problems] == [
        "folders.file_missing",
        "calibration.other_split",
        "calibration.other_adapter",
        "calibration.no_probabilities",
        "calibration.no_predictions",
    ]
    assert not (adapter / CALIBRATION).exists()


def test_the_calibration_of_another_adapter_and_a_damaged_one_are_refused(
    adapter: Path, scores: Path, dataset: Path, run: Any
) -> None:
    found = calibrate_adapter(scores, adapter)
    for text, code in (
        (found.model_copy(update={"adapter_content_sha256": "0" * 64}).model_dump_json(), "other_adapter"),
        ("{", "damaged"),
        (found.model_copy(update={"temperature": -1.0}).model_dump_json(), "damaged"),
    ):
        (adapter / CALIBRATION).write_text(text, encoding="utf-8")
        with pytest.raises(DataError) as raised:
            run("test", dataset=dataset, adapter=adapter)
        assert {one.code for one in raised.value.problems} == {f"calibration.{code}"}
