"""No audit of a build lets a text leave, or tells of a corpus that is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.layout import AUDIT
from tests.hub.rights import (
    DATASET,
    RIGHT,
    publish,
    rebuilt,
    refused,
    released,
    remade,
    with_rights,
)

if TYPE_CHECKING:
    from tests.hub.conftest import Build


def audit_of(build: Build, *ids: str, labels: tuple[str, ...] = ("anger", "fear", "sadness")) -> Path:
    """Writes an audit in which records repeat and contradict each other."""
    path: Path = build.path / "dataset" / AUDIT
    conflict = [{"id": one, "label": label} for one, label in zip(ids, labels, strict=False)]
    audit = {
        "overlaps": [],
        "duplicates": [{"words": 3, "label": "anger", "ids": ids}],
        "conflicts": [{"words": 3, "records": conflict}],
        "agreement": [],
    }
    path.write_text(json.dumps(audit), encoding="utf-8")
    remade(build)
    return path


def test_the_audit_of_a_copy_tells_nothing_of_a_corpus_that_is_left_out(build: Build, target: Path) -> None:
    audit_of(build, "meld/train/0/1", "meisd/test/0/0", "meld/test/0/0")
    publish(build.recipe, build.path, target)
    audit = json.loads((target / DATASET / AUDIT).read_text(encoding="utf-8"))
    assert audit["duplicates"][0]["ids"] == ["meld/train/0/1", "meld/test/0/0"]
    assert audit["conflicts"][0]["records"] == [
        {"id": "meld/train/0/1", "label": "anger"},
        {"id": "meld/test/0/0", "label": "sadness"},
    ]


def test_what_repeats_a_corpus_that_is_left_out_repeats_nothing(build: Build, target: Path) -> None:
    audit_of(build, "meld/train/0/1", "meisd/test/0/0")
    publish(build.recipe, build.path, target)
    audit = json.loads((target / DATASET / AUDIT).read_text(encoding="utf-8"))
    assert (audit["duplicates"], audit["conflicts"]) == ([], [])


def test_the_audit_of_a_copy_names_no_record_that_has_no_text_there(build: Build, target: Path) -> None:
    rebuilt(build, meisd="standoff")
    with_rights(build, meisd=RIGHT)
    audit_of(build, "meld/train/0/1", "meisd/test/0/0")
    publish(released(build, "private"), build.path, target)
    audit = json.loads((target / DATASET / AUDIT).read_text(encoding="utf-8"))
    assert audit["duplicates"][0]["ids"] == ["meld/train/0/1", "meisd/test"]
    assert audit["conflicts"][0]["records"][1] == {"id": "meisd/test", "label": "fear"}


@pytest.mark.parametrize(
    "one", ["A line of MEISD.", "meld/train/A line of MEISD./1", "meld/train/0/1\nA line"]
)
def test_an_audit_that_holds_text_does_not_leave(build: Build, target: Path, one: str) -> None:
    path = audit_of(build, "meld/train/0/1", one)
    (problem,) = refused(build, target)
    assert problem.startswith(f"{path}: is not the audit of a dataset")


def test_an_audit_with_another_key_does_not_leave(build: Build, target: Path) -> None:
    path = audit_of(build, "meld/train/0/1", "meld/test/0/0")
    audit = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(audit | {"text": "A line of MEISD."}), encoding="utf-8")
    remade(build)
    (problem,) = refused(build, target)
    assert problem.startswith(f"{path}: is not the audit of a dataset")
