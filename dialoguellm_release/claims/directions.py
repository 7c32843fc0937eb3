"""Statements of a paper that have a direction, tested on score folders of whatever backbone was scored."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from dialoguellm_release.claims.evidence import Found, FoundManifests, Verdict, is_met, whole_test_scores
from dialoguellm_release.folders import leaves
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import DirectionTest, Side
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.scoring.table import compare_scores, shown_differences

CORPUS = "CORPUS"
MAX_SHOWN = 3

Adapters = Mapping[str, Found[AdapterManifest]]
Scores = Found[ScoreManifest]


def direction_verdict(test: DirectionTest, found: FoundManifests) -> Verdict:
    """Whether the second side is above the first, by the paired bootstrap over dialogues.

    Every pair of one backbone counts that differs in nothing but what the test compares. The statement holds
    where the interval of each is above zero, and does not where that of each is below.
    """
    adapters: Adapters = {one.manifest.content_sha256: one for one in found.get("adapter", [])}
    runs = [
        one
        for one in whole_test_scores(found, test.corpus)
        if one.manifest.figures.system.kind == "model" and one.manifest.figures.system.server_api is None
    ]
    lower, higher = (
        [one for one in runs if _is_on(side, one, adapters, test.corpus)]
        for side in (test.lower, test.higher)
    )
    for side, scores in ((test.lower, lower), (test.higher, higher)):
        if not scores:
            missing = f"a score of {side.says} on the test split of {test.corpus}: dlm-release score run"
            return Verdict("not yet testable", missing)
    pairs = [pair for pair in product(lower, higher) if _base(pair[0]) == _base(pair[1])]
    if not pairs:
        missing = f"scores of {test.lower.says} and of {test.higher.says} with one backbone on {test.corpus}"
        return Verdict("not yet testable", missing)
    unlike = {id(pair): list(_differences(test, *pair, adapters)) for pair in pairs}
    alike = [pair for pair in pairs if not unlike[id(pair)]]
    if not alike:
        first, second = closest = min(pairs, key=lambda pair: len(unlike[id(pair)]))
        differences = "; ".join(unlike[id(closest)])
        return Verdict(
            "not yet testable", f"{first.folder} and {second.folder} differ in more: {differences}"
        )
    compared = [
        compare_scores(first.folder, second.folder).differences[test.metric] for first, second in alike
    ]
    lines = [
        f"{second.folder} over {first.folder}: {100 * one.value:+.2f} "
        f"({numbers.points_range(one.interval)}), p {one.p_value:.4f}"
        for (first, second), one in zip(alike, compared, strict=True)
    ]
    more = [f"and {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else []
    backbones = ", ".join(dict.fromkeys(str(first.manifest.figures.system.base) for first, _ in alike))
    by = f"{test.metric} with {backbones}, {'; '.join([*lines[:MAX_SHOWN], *more])}"
    measured = statistics.mean(100 * one.value for one in compared)
    if all(one.interval[0] > 0 for one in compared):
        return Verdict("holds on another backbone", by, measured)
    if all(one.interval[1] < 0 for one in compared):
        return Verdict("does not hold on another backbone", by, measured)
    return Verdict("undecided on another backbone", by, measured)


def _is_on(side: Side, scores: Scores, adapters: Adapters, corpus: str) -> bool:
    def accepted(where: Mapping[str, tuple[Any, ...]]) -> dict[str, list[Any]]:
        return {
            path: [corpus if value == CORPUS else value for value in values] for path, values in where.items()
        }

    if not is_met(scores.data, accepted(side.score)):
        return False
    adapter = adapters.get(str(scores.manifest.figures.system.adapter_content_sha256))
    return not side.adapter or (adapter is not None and is_met(adapter.data, accepted(side.adapter)))


def _base(scores: Scores) -> tuple[str | None, ...]:
    system = scores.manifest.figures.system
    return system.base, system.base_revision, system.base_content_sha256, system.base_gguf_file


def _differences(test: DirectionTest, lower: Scores, higher: Scores, adapters: Adapters) -> Iterator[str]:
    """What differs between two scores beside what the test compares."""
    first, second = lower.manifest.figures, higher.manifest.figures
    unlike = first.protocol.differences(second.protocol)
    yield from shown_differences({name: both for name, both in unlike.items() if name not in test.differ})
    trained = [adapters.get(str(one.system.adapter_content_sha256)) for one in (first, second)]
    if first.system.adapter_content_sha256 and second.system.adapter_content_sha256:
        if trained[0] is None or trained[1] is None:
            yield "the folder of an adapter is not there"
            return
        allowed = ("description", *test.adapters_differ)
        one, other = (leaves(dict(adapter.manifest.recipe.resolved)) for adapter in trained if adapter)
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name) and name not in allowed:
                yield f"adapter recipe: {name} {other.get(name)}, not {one.get(name)}"
