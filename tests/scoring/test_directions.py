"""What a paper has as better, tested on planted score folders of another backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.claims.claims import Verdict
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, write_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.steps.compare import check_claims, compare_scores
from dialoguellm_release.steps.score import score_predictions

TUNED, CONTEXT, MIX, EXAMPLES = (
    f"directions/{name}/meld"
    for name in ("tuned-above-untuned", "context-helps", "mix-helps", "examples-help")
)
HOLDS, DOES_NOT, UNDECIDED, OPEN = (
    "holds on another backbone",
    "does not hold on another backbone",
    "undecided on another backbone",
    "not yet testable",
)
UNTUNED: dict[str, Any] = {"shots": 0}
ADAPTER = {"shots": 0, "selected_on": "none", "leak_policy": "kept in training"}


class Planted:
    """Plants score and adapter folders below a folder."""

    def __init__(self, folder: Path, dataset: Path, adapter: Path) -> None:
        self.folder, self._dataset = folder, dataset
        self._adapter = read_manifest(adapter, AdapterManifest)
        rows = pq.read_table(dataset / "data" / "meld").to_pylist()
        tests = [row for row in rows if row["split"] == "test"]
        self._ids = [row["id"] for row in tests]
        self._labels = [row["output"] for row in tests]

    def score(
        self, name: str, right: int | Sequence[int], adapter: str | None = None, **protocol: Any
    ) -> Path:
        """A score whose first `right` answers, or those at these places, are right, the others another label.

        Args:
            adapter: Name of a planted adapter; None for the backbone alone.
        """
        places = set(range(right) if isinstance(right, int) else right)
        wrong = {label: next(other for other in self._labels if other != label) for label in self._labels}
        lines = [
            f"{one},{label if place in places else wrong[label]}\n"
            for place, (one, label) in enumerate(zip(self._ids, self._labels, strict=True))
        ]
        csv = self.folder.parent / f"{name}.csv"
        csv.write_text("id,prediction\n" + "".join(lines), encoding="utf-8")
        some = ["intervals.resamples=100"]
        made = score_predictions("meld", csv, self._dataset, self.folder / name, overrides=some)
        manifest = made.manifest
        base = protocol.pop("base", "small-llama")
        system = manifest.figures.system.model_copy(
            update={"name": name, "kind": "model", "base": base, "adapter_content_sha256": _sha256(adapter)}
        )
        known = {
            "context_k": 1,
            "context_direction": "past",
            "scorer": "first_token",
            "prompt_sha256": "f" * 64,
        }
        changed = manifest.figures.protocol.model_copy(update=known | {"few_shot_ids": ()} | protocol)
        figures = manifest.figures.model_copy(update={"system": system, "protocol": changed})
        update = {"figures": figures, "content_sha256": _sha256(name)}
        write_manifest(made.folder, manifest.model_copy(update=update))
        return made.folder

    def adapter(self, name: str, seed: int = 1, context: bool = True, **data: Any) -> None:
        """The manifest of an adapter with this data and seed."""
        resolved: Any = dict(self._adapter.recipe.resolved)
        resolved |= {"seed": seed, "data": {"config": "meld", "knowledge": {"context": context}} | data}
        stamp = self._adapter.recipe.model_copy(update={"resolved": resolved})
        folder = self.folder / "adapters" / name
        folder.mkdir(parents=True)
        update = {"recipe": stamp, "content_sha256": _sha256(name)}
        write_manifest(folder, self._adapter.model_copy(update=update))

    def verdict(self, claim: str) -> Verdict:
        return check_claims(self.folder).verdicts[claim]


def _sha256(name: str | None) -> str | None:
    return (name.encode().hex() + "0" * 64)[:64] if name else None


@pytest.fixture
def planted(tmp_path: Path, audited_dataset: Path, tiny_adapter: Path) -> Planted:
    (tmp_path / "build").mkdir()
    return Planted(tmp_path / "build", audited_dataset, tiny_adapter)


@pytest.fixture
def tuned_and_untuned(planted: Planted) -> Callable[[Any, Any], Planted]:
    def plant(untuned: Any, tuned: Any) -> Planted:
        planted.adapter("meld")
        planted.score("untuned", untuned, **UNTUNED)
        planted.score("tuned", tuned, "meld", **ADAPTER)
        return planted

    return plant


def test_a_clear_gain_holds_with_difference_interval_and_p(tuned_and_untuned: Any) -> None:
    planted = tuned_and_untuned(0, 40)
    verdict = planted.verdict(TUNED)
    one = compare_scores(planted.folder / "untuned", planted.folder / "tuned").differences["weighted_f1"]
    assert verdict.status == HOLDS
    assert verdict.measured == pytest.approx(100 * one.value)
    assert f"{100 * one.value:+.2f}" in verdict.by
    assert f"p {one.p_value:.4f}" in verdict.by
    assert "with small-llama" in verdict.by


def test_a_clear_loss_does_not_hold_and_nothing_is_reproduced(tuned_and_untuned: Any) -> None:
    planted = tuned_and_untuned(40, 0)
    report = check_claims(planted.folder)
    verdict = report.verdicts[TUNED]
    assert verdict.status == DOES_NOT
    assert verdict.measured is not None
    assert verdict.measured < 0
    nothing = check_claims(planted.folder.parent / "build" / "adapters").verdicts
    count = [one.status for one in report.verdicts.values()].count("reproduced")
    assert count == [one.status for one in nothing.values()].count("reproduced")


def test_an_interval_that_covers_zero_decides_nothing(tuned_and_untuned: Any) -> None:
    # one dialogue of five more here, another one there
    verdict = tuned_and_untuned(range(10), range(5, 15)).verdict(TUNED)
    assert verdict.status == UNDECIDED
    assert verdict.measured is not None


def test_a_missing_side_is_named(planted: Planted) -> None:
    assert planted.verdict(TUNED).status == OPEN
    planted.score("untuned", 3, **UNTUNED)
    verdict = planted.verdict(TUNED)
    assert verdict.status == OPEN
    assert "an adapter of it that sees the context on the test split of meld" in verdict.by


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scorer": "full_likelihood"}, "scorer full_likelihood, not first_token"),
        ({"prompt_sha256": "a" * 64}, "prompt_sha256"),
        ({"dataset_content_sha256": "a" * 64}, "dataset_content_sha256"),
        ({"base": "other-llama"}, "with one backbone on meld"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_unlike_protocols_and_backbones_are_not_compared(
    changed: dict[str, Any], said: str, planted: Planted
) -> None:
    planted.adapter("meld")
    planted.score("untuned", 0, **UNTUNED)
    planted.score("tuned", 40, "meld", **ADAPTER, **changed)
    verdict = planted.verdict(TUNED)
    assert verdict.status == OPEN
    assert said in verdict.by


def test_context_is_compared_between_adapters_that_differ_in_nothing_else(planted: Planted) -> None:
    planted.adapter("with")
    planted.adapter("without", context=False)
    planted.adapter("other-seed", context=False, seed=2)
    planted.score("seen", 40, "with", **ADAPTER)
    planted.score("unseen", 0, "without", **ADAPTER, context_k=0, context_direction=None)
    # would turn the verdict if it counted: it differs in its seed too
    planted.score("unseen-2", 40, "other-seed", **ADAPTER, context_k=0, context_direction=None)
    verdict = planted.verdict(CONTEXT)
    assert verdict.status == HOLDS
    assert "unseen-2" not in verdict.by


def test_seeds_that_disagree_decide_nothing(planted: Planted) -> None:
    for seed, right in ((1, 40), (2, 0)):
        planted.adapter(f"alone-{seed}", seed)
        planted.adapter(f"mix-{seed}", seed, config="default")
        planted.score(f"s-alone-{seed}", 20, f"alone-{seed}", **ADAPTER)
        planted.score(f"s-mix-{seed}", right, f"mix-{seed}", **ADAPTER)
    verdict = planted.verdict(MIX)
    assert verdict.status == UNDECIDED
    assert verdict.by.count(", p ") == 2


def test_an_adapter_whose_folder_is_gone_is_not_compared(planted: Planted) -> None:
    planted.adapter("alone")
    planted.score("s-alone", 20, "alone", **ADAPTER)
    planted.score("s-mix", 40, "mix", **ADAPTER)
    assert planted.verdict(MIX).status == OPEN


def test_examples_are_compared_with_none(planted: Planted) -> None:
    planted.score("untuned", 30, **UNTUNED)
    shown: dict[str, Any] = {"shots": 3, "few_shot_rule": "balanced", "few_shot_ids": ("meld/train/0/0",)}
    planted.score("shown", 0, **shown, few_shot_sha256="c" * 64)
    assert planted.verdict(EXAMPLES).status == DOES_NOT


def test_a_changed_score_folder_is_refused(tuned_and_untuned: Any) -> None:
    planted = tuned_and_untuned(0, 40)
    (planted.folder / "tuned" / "predictions.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="nothing was compared"):
        planted.verdict(TUNED)


def test_an_adapter_of_another_corpus_is_no_evidence_for_a_row_of_one_for_each(planted: Planted) -> None:
    name, claim = "instructerc-2309.11911", "table-1/Llama2, LoRA/meld/weighted_f1"
    prompt = load_prompt("history-v1").sha256
    planted.score("instructerc-emorynlp", 0, "emorynlp", **ADAPTER, prompt_sha256=prompt)
    verdict = check_claims(planted.folder, name).verdicts[claim]
    assert (verdict.status, verdict.measured) == (OPEN, None)
    assert "instructerc-meld" in verdict.by
    planted.score("instructerc-meld", 10_000, "meld", **ADAPTER, prompt_sha256=prompt)
    verdict = check_claims(planted.folder, name).verdicts[claim]
    assert (verdict.status, verdict.measured) == ("contradicted", 100)
