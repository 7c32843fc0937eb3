"""Every kind of bad input that the build can meet: a clear error, exit 1, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.step import StepResult

COMMAND = (sys.executable, "-m", "dialoguellm_release.cli.main")


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def missing_file(sources: Path) -> None:
    (sources / "meld" / "dev_sent_emo.csv").unlink()


def missing_column(sources: Path) -> None:
    edit(sources / "meld" / "dev_sent_emo.csv", lambda text: text.replace(b"Emotion", b"Emo", 1))


def unknown_label(sources: Path) -> None:
    edit(
        sources / "meld" / "dev_sent_emo.csv",
        lambda text: text.replace(b",neutral,neutral,", b",neutrl,neutral,", 1),
    )


def label_count(sources: Path) -> None:
    path = sources / "dailydialog" / "train" / "dialogues_emotion_train.txt"
    edit(path, lambda text: text.replace(b" \n", b" 4 2 \n", 1))


def truncated_zip(sources: Path) -> None:
    edit(sources / "dailydialog" / "test.zip", lambda content: content[:-40])


def cut_csv(sources: Path) -> None:
    edit(sources / "meisd" / "MEISD_text.csv", lambda text: text[: len(text) * 2 // 3 - 7])


def wrong_encoding(sources: Path) -> None:
    edit(sources / "meld" / "dev_sent_emo.csv", lambda text: b"\x92" + text)


def duplicate_key(sources: Path) -> None:
    path = sources / "meld" / "dev_sent_emo.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1]]))


def empty_file(sources: Path) -> None:
    (sources / "emorynlp" / "emorynlp_dev_final.csv").write_bytes(b"")


def unreadable_folder(sources: Path) -> None:
    shutil.rmtree(sources / "meld")
    (sources / "meld").symlink_to("meld")


def another_corpus(sources: Path) -> None:
    shutil.rmtree(sources / "meld")
    shutil.copytree(sources / "meisd", sources / "meld")


BAD: dict[Callable[[Path], None], list[str]] = {
    missing_file: ["meld/dev_sent_emo.csv: is missing"],
    missing_column: ["meld/dev_sent_emo.csv:1", "Emotion"],
    unknown_label: ["meld/dev_sent_emo.csv:", "unknown label", "'neutrl'", "did you mean neutral?"],
    label_count: ["dailydialog/train/dialogues_train.txt:1", "number of utterances differs"],
    truncated_zip: ["dailydialog/test.zip"],
    cut_csv: ["meisd/MEISD_text.csv:", "to do"],
    wrong_encoding: ["meld/dev_sent_emo.csv:1", "not UTF-8", "convert the file to UTF-8"],
    duplicate_key: ["meld/dev_sent_emo.csv:"],
    empty_file: ["emorynlp/emorynlp_dev_final.csv", "is empty"],
    unreadable_folder: ["sources/meld: cannot be read: Too many levels of symbolic links"],
    another_corpus: ["sources/meld: looks like the folder of another corpus: meisd"],
}


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_bad_sources_are_told(
    damage: Callable[[Path], None], run: Any, sources: Path, tmp_path: Path
) -> None:
    damage(sources)
    ended = run("dataset", "build", "demo", "--sources", sources, "--out", tmp_path / "build" / "dataset")
    assert ended.code == 1
    assert ended.out == ""
    for part in BAD[damage]:
        assert part in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.rstrip().endswith("nothing was written.")
    assert not any((tmp_path / "build").iterdir())


def test_a_recipe_with_three_mistakes_is_told_whole(run: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "version: 1\nkind: dataset\ndescription: x\npretty_name: x\npromt: dialogue-v1\n"
        "context_k: one\ncorpora:\n  meld: {expect: {train: {dialogues: -1}}}\n"
    )
    ended = run("dataset", "build", recipe, "--sources", tmp_path, "--out", tmp_path / "out")
    assert ended.code == 1
    assert "mine.yaml:5:1: promt: unknown key; did you mean prompt?" in ended.err
    assert "mine.yaml:6:1: context_k: should be a valid integer" in ended.err
    assert (
        "mine.yaml:8:27: corpora.meld.expect.train.dialogues: should be greater than or equal to 0"
        in ended.err
    )
    assert "3 problems; nothing was written." in ended.err
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml"}


@pytest.mark.corpora
def test_the_file_of_another_split_is_known_by_its_hash(run: Any, corpora_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(corpora_dir / "meld", tmp_path / "sources" / "meld")
    train = tmp_path / "sources" / "meld" / "train_sent_emo.csv"
    train.chmod(0o644)
    shutil.copyfile(corpora_dir / "meld" / "test_sent_emo.csv", train)
    ended = run(*only_meld(tmp_path))
    assert ended.code == 1
    assert "train_sent_emo.csv: holds the content of another file: test_sent_emo.csv of meld" in ended.err


@pytest.mark.corpora
def test_an_unknown_file_of_another_split_misses_the_counts(
    run: Any, corpora_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(corpora_dir / "meld", tmp_path / "sources" / "meld")
    test = tmp_path / "sources" / "meld" / "test_sent_emo.csv"
    test.chmod(0o644)
    dev = (corpora_dir / "meld" / "dev_sent_emo.csv").read_bytes()
    test.write_bytes(dev.replace(b"\r\n", b"\n"))
    ended = run(*only_meld(tmp_path))
    assert ended.code == 1
    assert (
        "meld/test_sent_emo.csv: meld/test: dialogues / utterances miss the counts of the recipe" in ended.err
    )
    assert "expected: 280 / 2,610" in ended.err
    assert "got: 114 / 1,109" in ended.err
    assert "not the public files: meld/test_sent_emo.csv" in ended.err
    assert not (tmp_path / "out").exists()


def only_meld(tmp_path: Path) -> list[str | Path]:
    skip = [word for name in ("emorynlp", "dailydialog", "meisd", "iemocap") for word in ("--skip", name)]
    return ["dataset", "build", "paper", "--sources", tmp_path / "sources", *skip, "--out", tmp_path / "out"]


def test_a_full_disk_is_told_and_leaves_the_old_dataset(
    demo_dataset: StepResult[Any], tmp_path: Path
) -> None:
    """The file system refuses a file over 20 kB, as a full one refuses any."""
    out = shutil.copytree(demo_dataset.folder, tmp_path / "build" / "dataset")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [*COMMAND, "dataset", "build", "demo", "--out", out, "--again"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in out.parent.iterdir()] == ["dataset"]


def held_up_build(sources: Path, out: Path) -> subprocess.Popen[str]:
    """A build in its middle: a pipe in the place of MEISD's file holds it up when the others are written.

    The pipe gives its content once, to the first pass over the corpora.
    """
    path = sources / "meisd" / "MEISD_text.csv"
    path.rename(path.with_suffix(".kept"))
    os.mkfifo(path)
    process = subprocess.Popen(
        [*COMMAND, "dataset", "build", "demo", "--sources", sources, "--skip", "iemocap", "--out", out],
        stderr=subprocess.PIPE,
        text=True,
    )
    path.write_bytes(path.with_suffix(".kept").read_bytes())
    written = out.with_name(f".{out.name}.partial") / "data" / "dailydialog"
    deadline = time.monotonic() + 60
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert written.exists()
    time.sleep(0.3)
    return process


def test_ctrl_c_in_the_middle_leaves_nothing_half_written(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "build" / "dataset"
    process = held_up_build(sources, out)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not any(out.parent.iterdir())


def test_what_a_kill_left_is_cleared_by_the_next_run(run: Any, sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "build" / "dataset"
    process = held_up_build(sources, out)
    process.kill()
    process.communicate(timeout=30)
    assert not out.exists()
    assert out.with_name(".dataset.partial").exists()
    path = sources / "meisd" / "MEISD_text.csv"
    path.unlink()
    path.with_suffix(".kept").rename(path)
    ended = run("dataset", "build", "demo", "--sources", sources, "--skip", "iemocap", "--out", out)
    assert ended.code == 0
    assert [child.name for child in out.parent.iterdir()] == ["dataset"]


def test_a_step_without_the_one_before_says_which(run: Any, tmp_path: Path) -> None:
    missing = tmp_path / "dataset"
    trained = run("adapter", "train", "tiny", "--dataset", missing, "--backbones", tmp_path / "backbones")
    assert trained.code == 1
    assert f"{missing}/manifest.json: no dataset folder here" in trained.err
    assert "make it with: dlm-release dataset build" in trained.err
    scored = run("score", "run", "meld", "--dataset", missing)
    assert scored.code == 1
    assert "name the folder of an adapter with --adapter, or a backbone recipe with --backbone" in scored.err
    published = run("publish", "demo", "--from", tmp_path, "--to", tmp_path / "release")
    assert published.code == 1
    for name in ("dataset", "adapters/tiny", "backbones/tiny", "scores/meld-tiny"):
        assert f"{tmp_path / name}: not found; the release names this" in published.err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".dlm-release.lock"]
