from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialoguellm_release.resources import metric_functions, resource_folder
from dialoguellm_release.schemas.labels import LABELS

functions = metric_functions("erc_scores")
SPACE = ["anger", "fear", "neutral", "sadness"]
pairs = st.lists(
    st.tuples(st.sampled_from(SPACE), st.sampled_from([*SPACE, "invalid"])), min_size=1, max_size=60
)


def by_sklearn(
    references: list[str], predictions: list[str], labels: list[str], without: str | None
) -> dict[str, Any]:
    from sklearn import metrics

    def f1(average: str | None, chosen: list[str] = labels) -> Any:
        return metrics.f1_score(references, predictions, labels=chosen, average=average, zero_division=0)

    each = metrics.precision_recall_fscore_support(references, predictions, labels=labels, zero_division=0)
    return {
        "accuracy": metrics.accuracy_score(references, predictions),
        "weighted_f1": f1("weighted"),
        "macro_f1": f1("macro"),
        "micro_f1": f1("micro"),
        "micro_f1_without": without and f1("micro", [label for label in labels if label != without]),
        "invalid": predictions.count("invalid") / len(predictions),
        "per_label": {
            label: {
                "precision": precision,
                "recall": recall,
                "f1": score,
                "references": support,
                "predictions": predictions.count(label),
            }
            for label, precision, recall, score, support in zip(labels, *each, strict=True)
        },
        "confusion_matrix": metrics.confusion_matrix(
            references, predictions, labels=[*labels, "invalid"]
        ).tolist()[:-1],
    }


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name in ("accuracy", "weighted_f1", "macro_f1", "micro_f1", "micro_f1_without", "invalid"):
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name
    assert list(found["per_label"]) == list(expected["per_label"])
    for label, figures in expected["per_label"].items():
        assert found["per_label"][label] == pytest.approx(figures, abs=1e-12)
    assert found["confusion_matrix"] == expected["confusion_matrix"]


@given(pairs, st.permutations(SPACE), st.sampled_from([None, *SPACE]))
@example([("fear", "invalid")], SPACE, "neutral")
@example([("fear", "fear")], SPACE, None)
@example([("anger", "sadness"), ("anger", "anger")], SPACE, "anger")
def test_equals_scikit_learn_over_a_label_space(
    both: list[tuple[str, str]], labels: list[str], without: str | None
) -> None:
    references, predictions = [list(column) for column in zip(*both, strict=True)]
    found = functions.erc_scores(references, predictions, labels, without)
    assert_equal(found, by_sklearn(references, predictions, labels, without))


@given(pairs)
def test_equals_scikit_learn_over_the_labels_that_occur(both: list[tuple[str, str]]) -> None:
    references, predictions = [list(column) for column in zip(*both, strict=True)]
    occurring = sorted({*references, *predictions} - {"invalid"})
    found = functions.erc_scores(references, predictions)
    assert_equal(found, by_sklearn(references, predictions, occurring, None))


@given(pairs)
def test_names_and_ids_score_alike(both: list[tuple[str, str]]) -> None:
    references, predictions = [list(column) for column in zip(*both, strict=True)]
    ids = {**{name: place for place, name in enumerate(SPACE)}, "invalid": -1}
    by_name = functions.erc_scores(references, predictions, SPACE, "neutral")
    as_ids = [[ids[label] for label in labels] for labels in (references, predictions)]
    by_id = functions.erc_scores(*as_ids, range(4), 2)
    assert by_id["per_label"] == {ids[label]: one for label, one in by_name["per_label"].items()}
    assert {**by_id, "per_label": None} == {**by_name, "per_label": None}
    assert functions.erc_scores(*map(np.asarray, as_ids), np.arange(4), 2) == by_id


@given(st.lists(pairs, min_size=1, max_size=4))
def test_many_confusion_matrices_at_once_score_as_each_alone(parts: list[list[tuple[str, str]]]) -> None:
    alone = [
        functions.confusion_matrix([one for one, _ in part], [other for _, other in part], SPACE)[1]
        for part in parts
    ]
    together = np.stack(alone)
    for score in (functions.accuracy, functions.weighted_f1, functions.macro_f1, functions.micro_f1):
        assert score(together).tolist() == [float(score(one)) for one in alone]


def test_a_case_by_hand() -> None:
    # anger: precision 2/2, recall 2/3, F1 0.8, weight 3/4; fear: 1/2, 1/1, F1 2/3, weight 1/4
    scores = functions.erc_scores(["anger", "anger", "anger", "fear"], ["anger", "anger", "fear", "fear"])
    assert scores["accuracy"] == scores["micro_f1"] == 0.75
    assert scores["weighted_f1"] == pytest.approx(0.8 * 3 / 4 + 2 / 3 / 4)
    assert scores["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores["micro_f1_without"] is None


def test_the_values_are_plain_numbers() -> None:
    scores = functions.erc_scores([1, 2], [1, -1], without=1)
    assert {type(value) for value in scores.values()} == {float, dict, list}
    assert {type(value) for value in scores["per_label"][2].values()} == {float, int}
    assert {type(count) for row in scores["confusion_matrix"] for count in row} == {int}


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
        (["invalid"], ["fear"], "stands for an invalid prediction"),
        ([-1], [1], "-1 stands for an invalid prediction"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(references: object, predictions: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functions.erc_scores(references, predictions)


@pytest.mark.parametrize(
    ("labels", "without", "message"),
    [
        (["anger"], None, "not in the label space 'anger': 'fear', 'joy'"),
        (["fear", "joy", "fear"], None, "distinct"),
        (["fear", "joy", "invalid"], None, "none of them 'invalid' or -1"),
        (["fear", "joy"], "neutral", "'neutral' is none of the labels 'fear', 'joy'"),
        (None, "neutrl", "'neutrl' is none of the labels 'fear', 'joy'"),
        ("fear", None, "labels must be a list"),
    ],
)
def test_a_label_space_that_does_not_fit_is_refused(labels: Any, without: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functions.erc_scores(["fear", "fear"], ["joy", "invalid"], labels, without)


def test_every_label_of_the_vocabulary_is_told_from_the_sentinel() -> None:
    assert functions.INVALID not in LABELS


def test_the_examples_in_the_docstrings_and_in_the_card_hold() -> None:
    outcome = doctest.testmod(functions)
    assert outcome.attempted >= 4
    assert outcome.failed == 0
    card = resource_folder("metrics") / "erc_scores" / "README.md"
    outcome = doctest.testfile(
        str(Path(card).resolve()), module_relative=False, globs={"erc_scores": functions.erc_scores}
    )
    assert outcome.attempted >= 8
    assert outcome.failed == 0
