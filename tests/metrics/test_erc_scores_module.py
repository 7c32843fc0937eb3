from __future__ import annotations

import doctest
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.resources import resource_folder
from tests.hub_server.clients import use_empty_metric_modules

FOLDER = resource_folder("metrics") / "erc_scores"


@pytest.fixture(autouse=True)
def _modules(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    use_empty_metric_modules(tmp_path_factory.mktemp("evaluate"), monkeypatch)


@pytest.fixture(scope="module")
def evaluate() -> Any:
    """The library; it takes seconds to import."""
    return pytest.importorskip("evaluate")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metric alone, as a Space would hold it."""
    copy = tmp_path_factory.mktemp("spaces") / "erc_scores"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_loads_from_its_folder_and_takes_names_or_ids(evaluate: Any, published: Path, tmp_path: Path) -> None:
    from dialoguellm_release.resources import metric_functions

    erc_scores = metric_functions("erc_scores").erc_scores
    for references, predictions, labels, without in (
        (["anger", "anger", "fear"], ["anger", "fear", "invalid"], ["neutral", "fear", "anger"], "neutral"),
        ([1, 1, 2], [1, 2, -1], [0, 1, 2], 0),
    ):
        metric = evaluate.load(str(published), cache_dir=str(tmp_path))
        given = {"references": references, "predictions": predictions}
        assert metric.compute(**given) == erc_scores(references, predictions)
        found = metric.compute(**given, labels=labels, without=without)
        assert found == erc_scores(references, predictions, labels, without)


@pytest.mark.parametrize(
    "wrong",
    [[0.7, 1], [float("nan"), 1], [True, False], [1.0, 0.0], ["anger", 1], [None, 1], [-2, 1], [2**63, 1]],
    ids=str,
)
@pytest.mark.parametrize("column", ["predictions", "references"])
def test_labels_are_refused_as_the_functions_refuse_them_before_they_are_cast(
    wrong: list[object], column: str, evaluate: Any, published: Path, tmp_path: Path
) -> None:
    from dialoguellm_release.resources import metric_functions

    given = {"predictions": [0, 1], "references": [0, 1]} | {column: wrong}
    with pytest.raises(ValueError, match=column) as by_functions:
        metric_functions("erc_scores").erc_scores(given["references"], given["predictions"])
    metric = evaluate.load(str(published), cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match=column) as by_module:
        metric.compute(**given)
    assert str(by_module.value) == str(by_functions.value)
    with pytest.raises(ValueError, match=column):
        metric.add_batch(**given)
    singular = {"prediction": 0, "reference": 0} | {column[:-1]: wrong[0]}
    if not isinstance(wrong[0], str):
        with pytest.raises(ValueError, match=column[:-1]):
            metric.add(**singular)


def test_arrays_and_columns_of_data_frames_are_labels(evaluate: Any, published: Path, tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd

    metric = evaluate.load(str(published), cache_dir=str(tmp_path))
    ids = np.array([0, 1, 1], dtype=np.uint8)
    assert metric.compute(predictions=ids, references=ids)["accuracy"] == 1.0
    names = pd.Series(["anger", "fear", "fear"])
    assert metric.compute(predictions=names, references=names)["accuracy"] == 1.0
    metric.add_batch(predictions=[0], references=[0])
    metric.add(prediction=1, reference=0)
    assert metric.compute()["accuracy"] == 0.5


def test_the_examples_of_its_description_hold(evaluate: Any, published: Path, tmp_path: Path) -> None:
    metric = evaluate.load(str(published), cache_dir=str(tmp_path))
    examples = metric.inputs_description.replace('"dialoguellm/erc_scores"', repr(str(published)))
    test = doctest.DocTestParser().get_doctest(examples, {"evaluate": evaluate}, "erc_scores", None, 0)
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_the_functions_need_numpy_alone() -> None:
    code = (
        "import sys, runpy, json; runpy.run_path(sys.argv[1]);"
        "heavy = ('evaluate', 'datasets', 'sklearn', 'torch');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    command = [sys.executable, "-c", code, str(FOLDER / "functions.py")]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(output.stdout) == []


def test_the_space_is_complete() -> None:
    header = yaml.safe_load((FOLDER / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert header["sdk"] == "static"
    assert (FOLDER / header["app_file"]).is_file()
    assert {"evaluate", "metric"} <= set(header["tags"])
    required = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    assert set(re.findall(r"^[a-z]+", required, re.MULTILINE)) == {"evaluate", "numpy"}
