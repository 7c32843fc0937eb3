"""No path through recipe, override, manifest, file or target lets a text leave that the registry keeps in."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow.parquet as pq
import pytest
from pydantic import JsonValue

from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.dataset.parquet import RowWriter, sft_schema
from dialoguellm_release.errors import CardError, PublishError, RecipeError
from dialoguellm_release.folders import canonical_json, sha256_of_text, stamps, write_manifest
from dialoguellm_release.hub import plan
from dialoguellm_release.hub.folder import FolderTarget
from dialoguellm_release.hub.publication import PublishedRepository
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.subset import publishable_part
from dialoguellm_release.hub.verdicts import problems_of
from dialoguellm_release.layout import AUDIT, DataFile, data_file
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import DISTRIBUTIONS, Answer, CorpusEntry, Distribution
from dialoguellm_release.schemas.labels import CORPORA, CorpusName
from dialoguellm_release.schemas.manifests.base import RecipeStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import Visibility

Build = Any
"""The fixture's class, which stands in conftest."""

DATASET = "datasets/dialoguellm/instructions"
RIGHT = "The authors of MEISD allowed it by letter."


def rebuilt(build: Build, **asked: Distribution) -> None:
    """Makes the build one of a recipe that asks for something else."""
    settings = [f"corpora.{name}.distribution={one}" for name, one in asked.items()]
    remade(build, load_recipe("demo", "dataset", DatasetRecipe, settings).stamp)


def with_rights(build: Build, **rights: str) -> None:
    resolved = build.dataset.recipe.resolved | {"rights": cast("JsonValue", rights)}
    sha256 = sha256_of_text(canonical_json(dict(resolved)))
    remade(build, RecipeStamp(name="demo", sha256=sha256, resolved=resolved))


def remade(build: Build, recipe: RecipeStamp | None = None, **figures: object) -> None:
    """Writes a manifest that fits recipe and files, with other figures where they are given."""
    folder = build.path / "dataset"
    whole = build.dataset
    whole = whole.model_copy(
        update={
            "recipe": recipe or whole.recipe,
            "figures": whole.figures.model_copy(update=figures),
            "outputs": stamps(folder),
        }
    )
    write_manifest(folder, whole)


def released(build: Build, visibility: Visibility) -> Any:
    dataset = build.recipe.dataset.model_copy(update={"visibility": visibility})
    return build.recipe.model_copy(update={"dataset": dataset})


def publish(
    recipe: Any, build: Path, target: Path, *, dry_run: bool = False
) -> tuple[PublishedRepository, ...]:
    """A release to a folder; what a dry run finds wrong is raised as the real run does."""
    done = publish_release(recipe, build, FolderTarget(target), dry_run=dry_run)
    if problems := problems_of(done.verdicts):
        raise PublishError(problems)
    return done.repositories


def repositories(target: Path) -> list[Path]:
    """What a release left behind, but for the file that locks the folder."""
    return [path for path in target.glob("*") if path.is_dir()]


def refused(build: Build, target: Path, visibility: Visibility = "public") -> list[str]:
    """The problems of a release; a dry run names the same, and neither leaves anything behind."""
    said = []
    for dry_run in (True, False):
        with pytest.raises(PublishError) as caught:
            publish(released(build, visibility), build.path, target, dry_run=dry_run)
        said.append([str(problem) for problem in caught.value.problems])
        assert not repositories(target)
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("asked", ["full", "standoff"])
@pytest.mark.parametrize("visibility", ["public", "private"])
def test_more_than_the_registry_allows_is_refused_and_says_what_to_do(
    build: Build, target: Path, asked: Distribution, visibility: Visibility
) -> None:
    rebuilt(build, meisd=asked)
    (problem,) = refused(build, target, visibility)
    assert problem.startswith(
        f"{build.path / 'dataset'}: corpora.meisd.distribution: the recipe demo lets more"
    )
    assert "text: LicenseRef-MEISD-none-found, may be passed on: no" in problem
    assert "labels: LicenseRef-MEISD-none-found, may be passed on: unknown" in problem
    assert "expected: exclude\n" in problem
    assert f"got: {asked}\n" in problem
    assert "--set corpora.meisd.distribution=exclude" in problem
    assert "rights.meisd" in problem


def test_a_right_counts_in_a_private_repository_only(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=RIGHT)
    (problem,) = refused(build, target)
    assert (
        "rights.meisd counts in a private repository only: set dataset.visibility in the release" in problem
    )


def test_a_right_to_one_corpus_is_none_to_another(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, iemocap=RIGHT)
    assert len(refused(build, target, "private")) == 1


@pytest.mark.parametrize("right", ["", "''", "' '", '"\\t\\n"', "{}", "[]", "true"])
def test_a_right_is_a_sentence(right: str) -> None:
    with pytest.raises(RecipeError, match=r"rights\.meisd"):
        load_recipe("demo", "dataset", DatasetRecipe, [f"rights.meisd={right}"])


def test_a_right_to_what_is_no_part_of_the_dataset_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="rights names what is not among the corpora: iemocap"):
        load_recipe("demo", "dataset", DatasetRecipe, ["corpora.iemocap=null", "rights.iemocap=mine"])


def test_an_empty_right_that_was_written_into_the_manifest_is_none(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=" ")
    with pytest.raises(CardError, match=r"rights\.meisd"):
        publish(released(build, "private"), build.path, target)
    assert not repositories(target)


def test_with_the_right_a_private_repository_gets_the_text_and_shows_the_right(
    build: Build, target: Path
) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=RIGHT)
    publish(released(build, "private"), build.path, target)
    repository = target / DATASET
    assert (repository / "data/meisd/test-clean-00000.parquet").is_file()
    for name in ("README.md", "LICENSES.md"):
        assert RIGHT in (repository / name).read_text(encoding="utf-8")
    assert stat.S_IMODE(repository.stat().st_mode) == 0o700
    again = publish(released(build, "private"), build.path, target)
    assert {one.state for one in again} == {"unchanged"}


def test_a_private_repository_does_not_become_public_nor_the_other_way(
    build: Build, target: Path, tmp_path: Path
) -> None:
    publish(build.recipe, build.path, target)
    with pytest.raises(PublishError, match="is public, but the release has it as private"):
        publish(released(build, "private"), build.path, target)
    private = tmp_path / "private"
    publish(released(build, "private"), build.path, private)
    for dry_run in (True, False):
        with pytest.raises(PublishError, match="is private, but the release has it as public") as caught:
            publish(build.recipe, build.path, private, dry_run=dry_run)
        assert caught.value.problems[0].where == str(private / DATASET)


def test_what_a_killed_private_release_wrote_does_not_become_public(
    build: Build, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dialoguellm_release.hub.git.GitRepository._write_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(released(build, "private"), build.path, target)
    with pytest.raises(PublishError, match="is private, but the release has it as public"):
        publish(build.recipe, build.path, target)


def test_of_every_recipe_only_what_is_allowed_leaves(build: Build) -> None:
    """All ways to ask for two corpora, with all rights, in both kinds of repository."""
    registry = {name: corpus_entry(name) for name in CORPORA}
    names: tuple[CorpusName, ...] = ("meld", "meisd")
    left = 0
    for meld, meisd, right, visibility in product(
        DISTRIBUTIONS, DISTRIBUTIONS, ((), ("meld",), ("meisd",), names), get_args(Visibility)
    ):
        rebuilt(build, meld=meld, meisd=meisd)
        with_rights(build, **dict.fromkeys(right, RIGHT))
        try:
            part = publishable_part(build.dataset, registry, visibility, build.path / "dataset")
        except PublishError:
            continue
        left += 1
        held = {one.corpus for file in part.outputs if (one := data_file(file.path))}
        assert part.published is not None
        for name, asked in zip(names, (meld, meisd), strict=True):
            may = name == "meld" or (visibility == "private" and name in right)
            assert (name in held) <= (asked == "full" and may)
            assert (name in part.published.standoff) <= (asked == "standoff" and may)
            assert (name in part.published.left_out) == (asked == "exclude")
    meld_alone, both, meisd_alone = 4 * 2, 2 * 2, 2 * 2  # rights that do not matter, and kinds of repository
    assert left == meld_alone + both + meisd_alone


def test_a_manifest_that_says_it_may_is_not_believed(build: Build, target: Path) -> None:
    corpora = dict(build.dataset.figures.corpora)
    corpora["meisd"] = corpora["meisd"].model_copy(update={"may_redistribute": True})
    remade(build, corpora=corpora)
    (problem,) = refused(build, target)
    assert "meisd: its manifest tells of another licence than the registry" in problem


def test_a_manifest_under_a_better_licence_is_not_believed(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    corpora = dict(build.dataset.figures.corpora)
    update = {"license": "CC0-1.0", "may_redistribute": True}
    corpora["meisd"] = corpora["meisd"].model_copy(update=update)
    remade(build, corpora=corpora)
    told, asked = refused(build, target)
    assert "got: CC0-1.0, may be passed on: True" in told
    assert "lets more of MEISD leave than its licences do" in asked


def test_a_recipe_that_was_changed_in_the_manifest_is_noticed(build: Build, target: Path) -> None:
    resolved = build.dataset.recipe.resolved | {"rights": {"meisd": RIGHT}}
    remade(build, build.dataset.recipe.model_copy(update={"resolved": resolved}))
    (problem,) = refused(build, target, "private")
    assert "recipe demo: was changed after the build" in problem


def test_a_corpus_that_the_recipe_does_not_name_does_not_leave(build: Build, target: Path) -> None:
    remade(build, load_recipe("demo", "dataset", DatasetRecipe, ["corpora.meld=null"]).stamp)
    (problem,) = refused(build, target)
    assert "meld: is in the dataset, but not in its recipe" in problem


def test_a_build_from_before_a_licence_was_withdrawn_does_not_leave(
    build: Build, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def withdrawn(name: CorpusName) -> CorpusEntry:
        entry = corpus_entry(name)
        license_ = entry.text_license.model_copy(update={"redistribute": "no"})
        return entry.model_copy(update={"text_license": license_}) if name == "meld" else entry

    monkeypatch.setattr(plan, "corpus_entry", withdrawn)
    told, asked = refused(build, target)
    assert "meld: its manifest tells of another licence than the registry" in told
    assert "expected: exclude or standoff\n" in asked


def put_records(folder: Path) -> Path:
    """Text of MEISD where text of MELD may stand."""
    path = folder / DataFile("meld", "train", "clean").path
    path.write_bytes((folder / DataFile("meisd", "train", "clean").path).read_bytes())
    return path


def put_split(folder: Path) -> Path:
    path = folder / DataFile("meld", "train", "clean").path
    path.write_bytes((folder / DataFile("meld", "test", "clean").path).read_bytes())
    return path


def put_one_row(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean", is_sft=True).path
    rows = pq.read_table(path).to_pydict()
    with RowWriter(path, sft_schema()) as writer:
        writer.add(
            [[*rows["id"], "meisd/test/0/0"], [*rows["prompt"], "A line."], [*rows["completion"], " joy"]]
        )
    return path


def put_further_file(folder: Path) -> Path:
    path = folder / "data/meld/train-leaked-00001.parquet"
    path.write_bytes((folder / DataFile("meisd", "train", "clean").path).read_bytes())
    return path


def put_no_id(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean", is_sft=True).path
    with RowWriter(path, sft_schema()) as writer:
        writer.add([[None], ["A line."], [" joy"]])
    return path


def put_no_table(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean").path
    path.write_bytes(b"A line of MEISD.")
    return path


def test_a_data_file_with_a_column_of_its_own_is_refused(build: Build, target: Path) -> None:
    path = build.path / "dataset" / DataFile("meld", "test", "clean").path
    table = pq.read_table(path)
    pq.write_table(table.append_column("notes", [["A line of MEISD."] * len(table)]), path)
    remade(build)
    (problem,) = refused(build, target)
    assert problem.startswith(f"{path}: has other columns than a build writes")
    assert "leaks, notes" in problem


@pytest.mark.parametrize("distribution", ["full", "standoff"])
@pytest.mark.parametrize(
    "put", [put_records, put_split, put_one_row, put_further_file, put_no_id, put_no_table]
)
def test_a_data_file_that_holds_other_rows_than_its_path_says_is_refused(
    build: Build, target: Path, put: Callable[[Path], Path], distribution: Distribution
) -> None:
    if distribution == "standoff":
        rebuilt(build, meld="standoff", meisd="full")
        with_rights(build, meisd=RIGHT)
    path = put(build.path / "dataset")
    remade(build)
    (problem,) = refused(build, target, "public" if distribution == "full" else "private")
    assert problem.startswith(f"{path}: ")
    assert "another corpus or split than its path says" in problem or "cannot be told apart" in problem


@pytest.mark.parametrize(
    "path",
    [
        "standoff/meisd/train-00000.parquet",
        "data/meld/meisd/train-clean-00000.parquet",
        "data/MELD/train-clean-00000.parquet",
        "data/meld/train-clean-00000.parquet.bak",
        "Data/meld/train-clean-00000.parquet",
        "LICENSES.md/meisd.txt",
        "figures/meisd.json",
        "audit/meisd.parquet",
    ],
)
def test_a_file_with_a_path_of_its_own_does_not_leave(build: Build, target: Path, path: str) -> None:
    file = build.path / "dataset" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"A line of MEISD.")
    remade(build)
    (problem,) = refused(build, target)
    assert problem.startswith(f"{file}: nobody knows whether its text may be passed on")


def test_what_the_build_says_of_itself_is_rendered_anew(build: Build, target: Path) -> None:
    for name in ("README.md", "LICENSES.md", "croissant.json"):
        (build.path / "dataset" / name).write_text("A line of MEISD.", encoding="utf-8")
    remade(build)
    publish(build.recipe, build.path, target)
    for name in ("README.md", "LICENSES.md", "croissant.json"):
        assert "A line of MEISD." not in (target / DATASET / name).read_text(encoding="utf-8")


def test_a_recipe_that_lets_no_text_leave_makes_no_repository(build: Build, target: Path) -> None:
    rebuilt(build, meld="exclude")
    (problem,) = refused(build, target)
    assert "its recipe lets the text of no corpus leave" in problem


def test_a_published_copy_is_not_published_again(build: Build, target: Path, tmp_path: Path) -> None:
    publish(build.recipe, build.path, target)
    recipe = build.recipe.model_copy(
        update={
            "dataset": build.recipe.dataset.model_copy(update={"folder": DATASET}),
            "adapters": (),
            "backbones": (),
        }
    )
    with pytest.raises(PublishError, match="is a published copy"):
        publish(recipe, target, tmp_path / "other")


ALLOWED: Mapping[CorpusName, Distribution] = {
    "meld": "full",
    "emorynlp": "full",
    "dailydialog": "full",
    "meisd": "exclude",
    "iemocap": "exclude",
}


@pytest.mark.parametrize("name", CORPORA)
def test_the_registry_allows_what_is_known_and_no_more(name: CorpusName) -> None:
    entry = corpus_entry(name)
    assert entry.allowed == ALLOWED[name]
    for license_ in (entry.text_license, entry.label_license):
        assert license_.stated_in
        assert license_.redistribute in get_args(Answer)
        if license_.id.startswith("LicenseRef-"):
            assert license_.redistribute != "yes"
        assert license_.verified == (name not in ("dailydialog", "iemocap"))


@pytest.mark.parametrize(
    ("text", "labels", "allowed"),
    [
        ("yes", "yes", "full"),
        ("no", "yes", "standoff"),
        ("unknown", "yes", "standoff"),
        ("yes", "no", "exclude"),
        ("yes", "unknown", "exclude"),
        ("unknown", "unknown", "exclude"),
    ],
)
def test_in_doubt_less_leaves(text: Answer, labels: Answer, allowed: Distribution) -> None:
    entry = corpus_entry("meld")
    entry = entry.model_copy(
        update={
            "text_license": entry.text_license.model_copy(update={"redistribute": text}),
            "label_license": entry.label_license.model_copy(update={"redistribute": labels}),
        }
    )
    assert entry.allowed == allowed


@pytest.mark.parametrize("name", ["paper", "demo"])
def test_the_bundled_recipes_ask_for_all_that_may_leave_and_no_more(name: str) -> None:
    recipe = load_recipe(name, "dataset", DatasetRecipe).recipe
    assert {corpus: one.distribution for corpus, one in recipe.corpora.named().items()} == ALLOWED
    assert recipe.rights == {}


def test_a_corpus_of_which_a_recipe_says_nothing_does_not_leave(build: Build) -> None:
    resolved = json.loads(json.dumps(build.dataset.recipe.resolved))
    del resolved["corpora"]["meld"]["distribution"]
    stamp = build.dataset.recipe.model_copy(update={"resolved": resolved})
    recipe = recipe_of(build.dataset.model_copy(update={"recipe": stamp}), DatasetRecipe)
    assert recipe.corpora.named()["meld"].distribution == "exclude"


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
