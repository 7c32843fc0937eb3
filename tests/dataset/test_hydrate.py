"""Hydration: from what was published and the user's copies, the dataset that was built, or nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.dataset import figures
from dialoguellm_release.dataset import hydrate as hydrating
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps, write_manifest
from dialoguellm_release.records import records_in
from dialoguellm_release.schemas.manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps import Made, build_dataset, check_dataset, hydrate_dataset

Dataset = Made[DatasetManifest]
MELD_TEST = "meld/test_sent_emo.csv"


def restamp(folder: Path, **update: object) -> None:
    manifest = read_manifest(folder, DatasetManifest)
    write_manifest(folder, manifest.model_copy(update={"outputs": stamps(folder), **update}))


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all else here, and is tried elsewhere."""
    monkeypatch.setattr(figures, "write_figures", lambda *_: None)


@pytest.fixture(scope="module")
def plain_dataset(tmp_path_factory: pytest.TempPathFactory, synthetic_dir: Path) -> Dataset:
    """The dataset of the synthetic corpora, three of them, quick to make again; without figures."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "write_figures", lambda *_: None)
        return build_dataset("demo", synthetic_dir, out, skip=["dailydialog", "iemocap"])


@pytest.fixture(scope="module")
def plain_copy(
    plain_dataset: Dataset, publish: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of it EmoryNLP with its text, MELD and MEISD without."""
    folder = tmp_path_factory.mktemp("published") / "copy"
    return publish(plain_dataset, folder, {"emorynlp"}, {"meld", "meisd"})


@pytest.fixture
def own(tmp_path: Path, synthetic_dir: Path) -> Path:
    """The user's copies of what was withheld, and nothing else."""
    for name in ("meld", "meisd"):
        shutil.copytree(synthetic_dir / name, tmp_path / "own" / name)
    return tmp_path / "own"


def told(copy: Path, own: Path, out: Path) -> str:
    """What is said where hydration fails, which leaves nothing behind."""
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(DataError) as caught:
        hydrate_dataset(copy, own, out)
    assert sorted(path.name for path in out.parent.iterdir()) == before
    assert str(caught.value).endswith("nothing was written.")
    return "\n".join(map(str, caught.value.problems))


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, count).encode())


def read_rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode())))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    path.write_bytes(buffer.getvalue().encode())


def append_dialogue(path: Path, dialogue_id: str, text: str) -> None:
    """A dialogue of one utterance more, at the end of a file of MELD."""
    rows = read_rows(path)
    told = dict(zip(rows[0], rows[-1], strict=True))
    told |= {"Dialogue_ID": dialogue_id, "Utterance_ID": "0", "Utterance": text}
    write_rows(path, [*rows, list(told.values())])


def a_record(dataset: Dataset, corpus: str, wanted: Callable[[list[Record], int], bool]) -> Record:
    """A record of the test split, by its dialogue and its place in it."""
    dialogues: dict[str, list[Record]] = {}
    for path in sorted((dataset.folder / "data" / corpus).glob("test-*.parquet")):
        for record in records_in(path):
            dialogues.setdefault(record.dialogue_id, []).append(record)
    texts = [record.input for turns in dialogues.values() for record in turns]
    for turns in dialogues.values():
        turns.sort(key=lambda turn: turn.utterance_index)
        for place, record in enumerate(turns):
            if wanted(turns, place) and texts.count(record.input) == 1:
                return record
    raise AssertionError("no such record")


def in_the_middle(turns: list[Record], place: int) -> bool:
    return 1 < place < len(turns) - 2 and len(turns[place].input) > 15


def test_a_hydrated_folder_is_left_alone(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not hydrate_dataset(plain_copy, own, out).was_current
    before = (out / MANIFEST).stat().st_ino
    assert hydrate_dataset(plain_copy, own, out).was_current
    assert (out / MANIFEST).stat().st_ino == before
    assert not hydrate_dataset(plain_copy, own, out, again=True).was_current
    (own / MELD_TEST).write_bytes((own / MELD_TEST).read_bytes().replace(b"\r\n", b"\n"))
    assert not hydrate_dataset(plain_copy, own, out).was_current


def test_a_copy_with_other_line_ends_is_the_same_dataset(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    path = own / "meisd" / "MEISD_text.csv"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    made = hydrate_dataset(plain_copy, own, tmp_path / "out")
    assert made.manifest.content_sha256 == plain_dataset.manifest.content_sha256
    assert made.manifest.inputs != plain_dataset.manifest.inputs
    assert check_dataset(made.folder) == []


@pytest.mark.parametrize("corpus", ["meld", "meisd"])
def test_one_changed_utterance_is_named_and_no_other(
    corpus: str, plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    record = a_record(plain_dataset, corpus, in_the_middle)
    name = "MEISD_text.csv" if corpus == "meisd" else "test_sent_emo.csv"
    edit(own / corpus / name, record.input, f"{record.input[:-1]} indeed.")
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / corpus}: not the files of the build; records: 1 with another text or speaker" in said
    assert f"{corpus}/{name} of" in said
    assert f"\n{record.id}: has another text or speaker" in said
    assert said.count("has another") == 1


def test_a_changed_label_is_named_with_both(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    record = a_record(
        plain_dataset, "meld", lambda turns, place: turns[place].source_label == "joy" and place > 0
    )
    path = own / MELD_TEST
    [line] = [line for line in path.read_bytes().decode().splitlines() if record.input in line]
    edit(path, line, line.replace(",joy,", ",anger,"))
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{record.id}: has another output\n  expected: happiness\n  got: anger" in said
    assert f"{record.id}: has another source_label\n  expected: joy\n  got: anger" in said
    assert "records: 1 with another label or time" in said


def test_swapped_utterances_are_named(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    turns: list[Record] = []

    def is_before_another_text(dialogue: list[Record], place: int) -> bool:
        turns[:] = dialogue[place : place + 2]
        return in_the_middle(dialogue, place) and turns[0].input not in turns[1].input

    first = a_record(plain_dataset, "meisd", is_before_another_text)
    rows = read_rows(own / "meisd" / "MEISD_text.csv")
    column = rows[0].index("Utterances")
    place = next(place for place, row in enumerate(rows) if row[column] == first.input)
    rows[place][column], rows[place + 1][column] = rows[place + 1][column], rows[place][column]
    write_rows(own / "meisd" / "MEISD_text.csv", rows)
    said = told(plain_copy, own, tmp_path / "out")
    assert "records: 2 with another text or speaker" in said
    assert all(f"\n{record.id}: has another text or speaker" in said for record in turns)


def test_a_copy_that_was_cut_off_is_named_with_what_is_missing(
    plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    path = own / MELD_TEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-30]))
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / 'meld'}: not the files of the build; records: 30 missing" in said
    assert "meld/test_sent_emo.csv of" in said
    assert said.count("is in the dataset, but not in your copy") == 30


def test_records_that_were_added_are_named(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    append_dialogue(own / MELD_TEST, "9999", "What else?")
    said = told(plain_copy, own, tmp_path / "out")
    assert "meld/test/9999/0: is not in the dataset, but in your copy" in said
    assert "records: 1 additional" in said


def test_everything_that_is_missing_is_said_at_once(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    (own / "meld" / "dev_sent_emo.csv").unlink()
    (own / "meld" / "train_sent_emo.csv").unlink()
    shutil.rmtree(own / "meisd")
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / 'meld' / 'dev_sent_emo.csv'}: is missing" in said
    assert f"{own / 'meld' / 'train_sent_emo.csv'}: is missing" in said
    assert f"dlm-release corpora fetch meld --to {own}" in said
    assert f"{own / 'meisd'}: the text of MEISD is not published" in said
    assert "expected: meisd/MEISD_text.csv\n  to do: whom to ask: the authors" in said
    assert "--skip" not in said


def test_faults_of_several_copies_come_together(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    edit(own / MELD_TEST, ",neutral,neutral,", ",neutrl,neutral,")
    (own / "meisd" / "MEISD_text.csv").write_bytes(b"")
    said = told(plain_copy, own, tmp_path / "out")
    assert "unknown label" in said
    assert "MEISD_text.csv: is empty" in said


def test_of_a_corpus_without_rows_the_split_is_named(
    publish: Callable[..., Path], plain_dataset: Dataset, own: Path, synthetic_dir: Path, tmp_path: Path
) -> None:
    copy = publish(plain_dataset, tmp_path / "copy", {"emorynlp", "meisd"})
    record = a_record(plain_dataset, "meld", in_the_middle)
    edit(own / MELD_TEST, record.input, "Quite something else.")
    said = told(copy, own, tmp_path / "out")
    assert said.startswith("meld/test: its records are not those of the build: not the files of the build")
    digest = plain_dataset.manifest.figures.corpora["meld"].content_sha256["test"]
    assert f"content {digest}" in said
    assert "meisd/" not in said
    shutil.copy(synthetic_dir / MELD_TEST, own / MELD_TEST)
    assert hydrate_dataset(copy, own, tmp_path / "out").folder.is_dir()


def test_a_corpus_is_not_blamed_for_what_another_changes_in_its_leaks(
    publish: Callable[..., Path], plain_dataset: Dataset, own: Path, tmp_path: Path
) -> None:
    copy = publish(plain_dataset, tmp_path / "copy", {"emorynlp"})
    for path in (own / "meld").iterdir():
        rows = read_rows(path)
        column = rows[0].index("Utterance")
        for row in rows[1:]:
            row[column] += " As I said before, and say once more."
        write_rows(path, rows)
    said = told(copy, own, tmp_path / "out")
    assert [line.split(":")[0] for line in said.splitlines() if ": its records" in line] == [
        "meld/train",
        "meld/validation",
        "meld/test",
    ]


def test_the_text_of_an_utterance_that_is_alone_can_only_be_one_of_a_few(
    publish: Callable[..., Path], own: Path, synthetic_dir: Path, tmp_path: Path
) -> None:
    """Such a record has no hash; the hash of its split tells that one of them differs."""
    shutil.copytree(synthetic_dir, tmp_path / "theirs")
    append_dialogue(tmp_path / "theirs" / MELD_TEST, "9999", "Yeah.")
    append_dialogue(own / MELD_TEST, "9999", "Yes.")
    built = build_dataset("demo", tmp_path / "theirs", tmp_path / "built", skip=["dailydialog", "iemocap"])
    copy = publish(built, tmp_path / "copy", {"emorynlp", "meisd"}, {"meld"})
    said = told(copy, own, tmp_path / "out")
    assert said.startswith("meld/test: its records are not those of the build: one that is alone")
    assert "meld/test/9999/0" in said
    assert "meisd" not in said


def test_the_recipe_is_that_of_the_build_and_no_bundled_one(
    publish: Callable[..., Path], synthetic_dir: Path, own: Path, tmp_path: Path
) -> None:
    built = build_dataset(
        "demo",
        synthetic_dir,
        tmp_path / "built",
        skip=["dailydialog", "iemocap"],
        overrides=["context_k=3", "corpora.meisd.split.seed=7"],
    )
    copy = publish(built, tmp_path / "copy", {"emorynlp"}, {"meld"})
    made = hydrate_dataset(copy, own, tmp_path / "out")
    assert made.manifest.recipe == built.manifest.recipe
    assert stamps(made.folder) == stamps(built.folder)


def test_files_of_the_build_that_another_version_reads_otherwise_are_told_apart(
    plain_copy: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialoguellm_release.corpora import meld

    copy = tmp_path / "copy"
    shutil.copytree(plain_copy, copy)
    created = read_manifest(copy, DatasetManifest).created_by
    monkeypatch.setattr(meld, "c1_as_cp1252", str.upper)
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build: the published copy was changed after it" in said
    restamp(copy, created_by=created | {"dialoguellm-release": "0.0.7"})
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build, but another version of this package read them" in said
    assert "to do: pip install dialoguellm-release==0.0.7" in said


def test_a_published_copy_that_is_damaged_is_told(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(plain_copy, copy)
    rows = copy / "standoff" / "meld" / "test-00000.parquet"
    kept = rows.read_bytes()
    rows.write_bytes(kept[:-5] + b"PAR1!")
    assert f"{rows}: is not the file that was published" in told(copy, own, out)
    rows.unlink()
    assert f"{rows}: is missing, but the manifest lists it" in told(copy, own, out)
    restamp(copy)
    assert "lists no file of meld/test in standoff/meld/" in told(copy, own, out)
    rows.write_bytes(kept)
    restamp(copy)
    stamped = plain_dataset.manifest.recipe
    restamp(copy, recipe=stamped.model_copy(update={"resolved": stamped.resolved | {"context_k": 9}}))
    assert "its recipe was changed after the dataset was built" in told(copy, own, out)


def test_a_hash_that_was_forged_does_not_blame_the_files_of_the_build(
    plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    copy = tmp_path / "copy"
    shutil.copytree(plain_copy, copy)
    path = copy / "standoff" / "meld" / "test-00000.parquet"
    table = pq.read_table(path)
    hashes = table["window_hmac"].to_pylist()
    hashes[3] = "0" * 64
    place = table.column_names.index("window_hmac")
    pq.write_table(table.set_column(place, table.schema.field(place), [hashes]), path)
    restamp(copy)
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build: the published copy was changed after it" in said
    assert f"{table['id'][3].as_py()}: has another text or speaker" in said


def test_what_is_no_published_copy_is_told(plain_dataset: Dataset, own: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no dataset folder here" in told(tmp_path / "empty", own, tmp_path / "out")
    assert "no dataset folder here" in told(tmp_path / "not there", own, tmp_path / "out")
    (tmp_path / "empty" / MANIFEST).write_text(json.dumps({"kind": "score"}))
    assert "is of another kind of folder" in told(tmp_path / "empty", own, tmp_path / "out")
    assert "there is nothing to hydrate" in told(plain_dataset.folder, own, tmp_path / "out")


def test_a_published_copy_does_not_replace_itself(plain_copy: Path, own: Path) -> None:
    before = stamps(plain_copy)
    with pytest.raises(DataError, match="is the published copy itself"):
        hydrate_dataset(plain_copy, own, plain_copy)
    assert stamps(plain_copy) == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_stop_leaves_what_was_there(
    stop: Any, plain_copy: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hydrate_dataset(plain_copy, own, tmp_path / "out")
    before = stamps(tmp_path / "out")

    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr(hydrating, "content_problems", stopped)
    with pytest.raises((KeyboardInterrupt, OSError)):
        hydrate_dataset(plain_copy, own, tmp_path / "out", again=True)
    assert stamps(tmp_path / "out") == before
    with pytest.raises((KeyboardInterrupt, OSError)):
        hydrate_dataset(plain_copy, own, tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"own", "out"}


def test_a_copy_that_changes_while_it_is_read_is_not_believed(
    plain_copy: Path, own: Path, tmp_path: Path, plain_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is over what was written, not over what was compared before."""
    record = a_record(plain_dataset, "meld", in_the_middle)
    compare = hydrating.check_copies

    def early(*arguments: Any) -> None:
        compare(*arguments)
        edit(own / MELD_TEST, record.input, "Quite something else.")

    monkeypatch.setattr(hydrating, "check_copies", early)
    assert "meld/test: its records are not those of the build" in told(plain_copy, own, tmp_path / "out")


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.corpora
def test_a_real_copy_that_differs_is_named_record_by_record(
    paper_dataset: Dataset, real_copy: Path, real_own: Path, tmp_path: Path
) -> None:
    changed = a_record(paper_dataset, "dailydialog", in_the_middle)
    for split in ("train", "validation", "test"):
        (real_own / "dailydialog" / f"{split}.zip").unlink()
    texts = real_own / "dailydialog" / "test" / "dialogues_test.txt"
    content = texts.read_bytes().decode()
    assert content.count(changed.input) == 1
    replace_file(texts, content.replace(changed.input, f"{changed.input} Indeed .").encode())
    meisd = real_own / "meisd" / "MEISD_text.csv"
    lines = meisd.read_bytes().splitlines(keepends=True)
    replace_file(meisd, b"".join(lines[:-300]))
    said = told(real_copy, real_own, tmp_path / "out")
    assert f"{changed.id}: has another text or speaker" in said
    assert said.count("has another text") == 1
    assert f"{real_own / 'dailydialog'}: not the files of the build" in said
    assert f"{real_own / 'meisd'}: not the files of the build" in said
    assert f"{said.count('is in the dataset, but not in your copy'):,} missing" in said
    assert "meisd/MEISD_text.csv of 2073936 bytes" in said
