"""The synthetic corpora: made from their script byte for byte, and read with every quirk of the formats."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.schemas.record import Dialogue
from tests.corpus_names import CORPORA

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora, Read


def turns(read: Read, split: str | None, dialogue_id: str) -> Dialogue:
    return next(one for one in read.dialogues if (one.split, one.id) == (split, dialogue_id))


def texts(dialogue: Dialogue) -> list[str]:
    return [turn.text for turn in dialogue.utterances]


def made(out: Path, script: Path, *arguments: str) -> dict[str, bytes]:
    subprocess.run([sys.executable, str(script), str(out), *arguments], check=True)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in (*CORPORA, "masac")
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def test_the_script_makes_what_is_committed(synthetic_dir: Path, tmp_path: Path) -> None:
    committed = contents(synthetic_dir)

    assert made(tmp_path, synthetic_dir / "make.py") == committed
    assert len(committed) == 60
    assert sum(map(len, committed.values())) < 450_000


def test_a_larger_scale_has_more_dialogues(
    synthetic_dir: Path, tmp_path: Path, corpora_at: Callable[[Path], Corpora]
) -> None:
    made(tmp_path, synthetic_dir / "make.py", "--scale", "3")

    for name in CORPORA:
        small = corpora_at(synthetic_dir).read(name)
        large = corpora_at(tmp_path).read(name)
        assert len(large.dialogues) > 2.9 * len(small.dialogues)


def test_meld(corpora: Corpora) -> None:
    read = corpora.read("meld")

    assert Counter(dialogue.split for dialogue in read.dialogues) == {
        "train": 60,
        "validation": 12,
        "test": 16,
    }
    assert not any((one.split, one.id) == ("train", "7") for one in read.dialogues)
    with_a_gap = turns(read, "train", "4")
    assert [turn.index for turn in with_a_gap.utterances][:4] == [0, 1, 3, 4]
    mended = texts(turns(read, "validation", "1"))
    assert any("’" in text for text in mended)
    assert read.notes.repairs == {"meld.c1_as_cp1252": sum("’" in text for text in mended)}
    assert read.notes.unknown_files == [f"meld/{name}_sent_emo.csv" for name in ("train", "dev", "test")]
    assert read.notes.public_utterances["train"] == sum(
        len(one.utterances) for one in read.dialogues if one.split == "train"
    )


def test_meld_times_have_two_forms_and_a_short_fraction(corpora: Corpora) -> None:
    raw = (corpora["meld"] / "train_sent_emo.csv").read_text(encoding="utf-8")
    short = re.search(r',5,1,\d+,\d+,"[\d:,]+","(\d+:\d\d:\d\d),(\d\d)"', raw)
    assert short is not None
    read = corpora.read("meld")
    hours, minutes, seconds = map(int, short[1].split(":"))
    turn = next(turn for turn in turns(read, "train", "5").utterances if turn.index == 1)

    assert turn.end_s == pytest.approx(hours * 3600 + minutes * 60 + seconds + int(short[2]) / 100)
    assert ',"0:' in raw
    assert all(
        turn.start_s is not None and turn.end_s is not None and turn.end_s > turn.start_s
        for dialogue in read.dialogues
        if dialogue.id != "5"
        for turn in dialogue.utterances
    )


def test_emorynlp_releases_agree(corpora: Corpora) -> None:
    table, json = corpora.read("emorynlp"), corpora.read("emorynlp", json=True)

    assert Counter(dialogue.split for dialogue in table.dialogues)["train"] == 39
    assert Counter(dialogue.split for dialogue in json.dialogues)["train"] == 40
    whole = {
        (one.split, one.id, turn.index): (turn.text, turn.speaker, turn.source_label)
        for one in json.dialogues
        for turn in one.utterances
    }
    part = {
        (one.split, one.id, turn.index): (turn.text, turn.speaker, turn.source_label)
        for one in table.dialogues
        for turn in one.utterances
    }
    assert part.items() < whole.items()
    assert min(index for _, _, index in whole) == 1
    speakers = [speaker for _, speaker, _ in part.values() if speaker is not None]
    assert any(", Otto" in speaker for speaker in speakers)
    assert {turn.start_s for one in json.dialogues for turn in one.utterances} == {None}


def test_emorynlp_scenes_may_be_interleaved(corpora: Corpora) -> None:
    def interleaved(content: bytes) -> bytes:
        header, *rows = content.splitlines(keepends=True)
        return header + b"".join(rows[::2] + rows[1::2])

    before = {one.id: set(texts(one)) for one in corpora.read("emorynlp").dialogues if one.split == "train"}
    corpora.edit("emorynlp/emorynlp_train_final.csv", interleaved)
    after = {one.id: set(texts(one)) for one in corpora.read("emorynlp").dialogues if one.split == "train"}

    assert after == before


def test_dailydialog(corpora: Corpora) -> None:
    read = corpora.read("dailydialog")

    assert Counter(dialogue.split for dialogue in read.dialogues) == {
        "train": 60,
        "validation": 10,
        "test": 10,
    }
    assert read.notes.repairs == {"dailydialog.utterances_joined_to_fit_labels": 1}
    joined = turns(read, "train", "11").utterances
    assert joined[2].text == "I walked here , so I am in no hurry . I've even brought a book ."
    assert [turn.speaker for turn in joined] == ["A", "B", "A", "B"]
    assert {turn.source_label for turn in joined} == {"no emotion"}
    assert {turn.label for turn in joined} == {"neutral"}
    assert [file.path for file in read.notes.files][-1] == "dailydialog/test.zip"


def test_meisd(corpora: Corpora) -> None:
    read = corpora.read("meisd")

    assert Counter(dialogue.series for dialogue in read.dialogues) == dict.fromkeys(
        ("LH", "NB", "QS", "VT"), 15
    )
    assert {dialogue.split for dialogue in read.dialogues} == {None}
    assert read.notes.repairs == {
        "meisd.label_case_or_space": 2,
        "meisd.label_respelled": 2,
        "meisd.dropped_label_l": 1,
        "meisd.other_label_repeats_another": 1,
        "meisd.c1_as_cp1252": 1,
        "meisd.utf8_as_utf8": 1,
        "meisd.dialogue_renumbered": 1,
    }
    by_id = {dialogue.id: dialogue.utterances for dialogue in read.dialogues}
    assert "30" not in by_id
    assert by_id["19"][1].text == "she ordered a crème brûlée at the harbour"
    assert by_id["20"][2].text == "i don’t know…"
    assert (by_id["13"][2].label, by_id["13"][2].source_label) == ("acceptance", "like")
    assert by_id["15"][1].label == "anger"
    assert by_id["15"][1].other_labels == ("acceptance", "surprise")
    assert by_id["10"][3].other_labels == ()
    assert [turn.index for turn in by_id["35"]] == list(range(len(by_id["35"])))


def test_iemocap(corpora: Corpora) -> None:
    read = corpora.read("iemocap")

    assert Counter(dialogue.split for dialogue in read.dialogues) == {"train": 16, "test": 4}
    assert {dialogue.id[:5] for dialogue in read.dialogues if dialogue.split == "test"} == {"Ses05"}
    repairs = read.notes.repairs
    assert repairs["iemocap.xx_turn"] == 20
    assert repairs["iemocap.line_without_turn"] == 5
    assert repairs["iemocap.dropped_label_xxx"] == 20
    utterances = [turn for dialogue in read.dialogues for turn in dialogue.utterances]
    dropped = repairs["iemocap.dropped_label_xxx"] + repairs["iemocap.dropped_label_sur"]
    assert len(utterances) == sum(read.notes.public_utterances.values()) - dropped
    assert {turn.speaker for turn in utterances} == {"F", "M"}
    assert {turn.source_label for turn in utterances} == {"hap", "sad", "neu", "ang", "exc", "fru"}
    first = read.dialogues[0]
    assert first.id == "Ses01F_impro01"
    assert 3 not in [turn.index for turn in first.utterances]
    assert not any("Mm-hm" in text for text in texts(first))
    assert not any("._" in file.path for file in read.notes.files)


def test_iemocap_joins_by_the_name_of_the_turn(corpora: Corpora) -> None:
    dialog = corpora["iemocap"] / "Session1" / "dialog"
    codes = dict(
        re.findall(r"\t(Ses\S+)\t(\w{3})\t", (dialog / "EmoEvaluation" / "Ses01M_impro01.txt").read_text())
    )
    spoken = re.findall(
        r"^(\S+_[FM]\d{3}) \[.*\]: (.*)$",
        (dialog / "transcriptions" / "Ses01M_impro01.txt").read_text(),
        flags=re.MULTILINE,
    )
    expected = [
        (index, text, codes[name])
        for index, (name, text) in enumerate(spoken)
        if codes[name] not in ("xxx", "sur")
    ]

    dialogue = turns(corpora.read("iemocap"), "train", "Ses01M_impro01")

    assert [(turn.index, turn.text, turn.source_label) for turn in dialogue.utterances] == expected
    assert list(codes) != [name for name, _ in spoken]


def test_iemocap_in_its_release_folder(corpora: Corpora) -> None:
    expected = corpora.read("iemocap").dialogues
    corpora["iemocap"].rename(corpora.root / "IEMOCAP_full_release")
    corpora["iemocap"].mkdir()
    (corpora.root / "IEMOCAP_full_release").rename(corpora["iemocap"] / "IEMOCAP_full_release")

    read = corpora.read("iemocap")

    assert read.dialogues == expected
    assert read.notes.files[0].path.startswith("iemocap/IEMOCAP_full_release/Session1/dialog/")


def test_iemocap_counts_what_only_one_of_two_files_has(corpora: Corpora) -> None:
    file = "iemocap/Session5/dialog/EmoEvaluation/Ses05F_impro01.txt"
    corpora.edit(file, lambda content: content.replace(b"_F000\t", b"_F777\t"))

    repairs = corpora.read("iemocap").notes.repairs

    assert repairs["iemocap.turn_without_evaluation"] == 1
    assert repairs["iemocap.evaluation_without_turn"] == 1


def test_some_dialogues_stand_in_two_corpora(corpora: Corpora) -> None:
    meld, emorynlp, meisd = corpora.read("meld"), corpora.read("emorynlp"), corpora.read("meisd")
    daily = corpora.read("dailydialog")

    assert texts(turns(meld, "test", "0")) == texts(turns(emorynlp, "train", "s01_e01_c01"))
    assert texts(turns(meld, "train", "3")) == texts(turns(meisd, None, "21"))
    assert texts(turns(daily, "train", "4")) == texts(turns(daily, "test", "2"))


def test_line_ends_and_a_byte_order_mark_do_not_matter(corpora: Corpora) -> None:
    expected = {name: corpora.read(name).dialogues for name in CORPORA}
    for path in corpora.root.rglob("*"):
        if path.is_file() and path.suffix in (".csv", ".txt") and not path.name.startswith("._"):
            lines = path.read_bytes().replace(b"\r\n", b"\n")
            path.write_bytes(b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n"))

    assert {name: corpora.read(name).dialogues for name in CORPORA} == expected


def test_reading_twice_gives_the_same(corpora: Corpora) -> None:
    for name in CORPORA:
        first, second = corpora.read(name), corpora.read(name)
        assert first.dialogues == second.dialogues
        assert first.notes == second.notes
