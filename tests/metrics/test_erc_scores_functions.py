from __future__ import annotations

import doctest

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.labels import LABELS

functions = metric_functions("erc_scores")


def by_sklearn(references: list[str], predictions: list[str]) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(references, predictions),
        "weighted_f1": f1_score(references, predictions, average="weighted", zero_division=0),
    }


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scikit_learn_on_random_labels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    classes = list(LABELS[: draw.integers(2, 13)])
    size = int(draw.integers(1, 400))
    references = [str(label) for label in draw.choice(classes, size)]
    predictions = [str(label) for label in draw.choice(classes[: draw.integers(1, len(classes) + 1)], size)]
    scores = functions.erc_scores(references, predictions)
    assert scores == pytest.approx(by_sklearn(references, predictions), abs=1e-12)


@pytest.mark.parametrize(
    ("references", "predictions", "accuracy", "weighted_f1"),
    [
        pytest.param(["fear"], ["fear"], 1.0, 1.0, id="one class, right"),
        pytest.param(["fear"], ["anger"], 0.0, 0.0, id="one utterance, wrong"),
        # anger: precision 2/2, recall 2/3, F1 0.8, weight 3/4; fear: 1/2, 1/1, F1 2/3, weight 1/4
        pytest.param(
            ["anger", "anger", "anger", "fear"],
            ["anger", "anger", "fear", "fear"],
            0.75,
            0.8 * 3 / 4 + 2 / 3 / 4,
            id="by hand",
        ),
        # sadness has no reference: anger F1 2*1/(2+1), weight 2/2
        pytest.param(["anger", "anger"], ["anger", "sadness"], 0.5, 2 / 3, id="predicted without support"),
        pytest.param(["anger", "fear"], ["anger", "anger"], 0.5, 1 / 3, id="never predicted"),
    ],
)
def test_cases_by_hand(
    references: list[str], predictions: list[str], accuracy: float, weighted_f1: float
) -> None:
    scores = functions.erc_scores(references, predictions)
    assert scores == pytest.approx({"accuracy": accuracy, "weighted_f1": weighted_f1})
    assert scores == pytest.approx(by_sklearn(references, predictions))


def test_names_and_ids_score_alike() -> None:
    references, predictions = ["anger", "neutral", "fear", "fear"], ["anger", "fear", "fear", "neutral"]
    as_ids = [[LABELS.index(label) for label in labels] for labels in (references, predictions)]
    by_name = functions.erc_scores(references, predictions)
    assert by_name == functions.erc_scores(*as_ids) == functions.erc_scores(*map(np.asarray, as_ids))
    assert all(type(value) is float for value in by_name.values())


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "nothing to score"),
        (["fear"], [], "1 references, but 0 predictions"),
        (["fear"], [2], "both be label names or both be integer ids"),
        (["fear"], [None], "predictions must be label names or integer ids, not NoneType"),
        ([0.0], [1.0], "references must be label names or integer ids, not float"),
        ([True], [True], "references must be label names or integer ids, not bool"),
        (["fear", 2], ["fear", "fear"], "references must be label names or integer ids, not int, str"),
        ("fear", "fear", "not one string"),
        ([[1], [2]], [[1], [2]], "flat list"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(references: object, predictions: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functions.erc_scores(references, predictions)


def test_the_examples_in_the_docstrings_hold() -> None:
    outcome = doctest.testmod(functions)
    assert outcome.attempted > 0
    assert outcome.failed == 0
