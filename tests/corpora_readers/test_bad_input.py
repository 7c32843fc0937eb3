"""Damaged corpora: every kind of damage is named with its file and line, and what to do."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.corpora.archives import MAX_MEMBER_BYTES
from dialoguellm_release.corpora.notes import MAX_PROBLEMS, Notes
from dialoguellm_release.corpora.read import read_corpus
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import CORPORA, CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

NOBODY = 65534
MELD = "meld/train_sent_emo.csv"
EMORY = "emorynlp/emorynlp_dev_final.csv"
EMORY_JSON = "emorynlp/emotion-detection-dev.json"
DAILY = "dailydialog/train/dialogues_train.txt"
DAILY_LABELS = "dailydialog/train/dialogues_emotion_train.txt"
MEISD = "meisd/MEISD_text.csv"
SPOKEN = "iemocap/Session2/dialog/transcriptions/Ses02F_impro01.txt"
EVALUATED = "iemocap/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """A folder that this process may not read, though it may be root."""
    folder.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            folder.chmod(0o755)
    else:
        yield
        folder.chmod(0o755)


def one(problems: list[str]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


class TestFolders:
    @pytest.mark.parametrize("name", CORPORA)
    def test_no_folder(self, corpora: Corpora, name: CorpusName) -> None:
        corpora[name].rename(corpora.root / "away")

        assert one(corpora.problems(name)).startswith(f"{name}: cannot be read: No such file or directory")

    def test_a_file_in_its_place(self, corpora: Corpora) -> None:
        corpora["meld"].rename(corpora.root / "away")
        corpora["meld"].write_text("no folder")

        assert one(corpora.problems("meld")).startswith("meld: cannot be read: Not a directory")

    def test_a_link_that_leads_to_itself(self, corpora: Corpora) -> None:
        corpora["meld"].rename(corpora.root / "away")
        corpora["meld"].symlink_to(corpora["meld"])

        problem = one(corpora.problems("meld"))

        assert problem.startswith("meld: cannot be read: Too many levels of symbolic links")

    def test_a_folder_without_permission(self, corpora: Corpora) -> None:
        corpora.read("meld")
        with unprivileged(corpora["meld"]):
            problem = one(corpora.problems("meld"))

        assert problem.startswith("meld: cannot be read: Permission denied")

    def test_a_file_that_cannot_be_read(self, corpora: Corpora) -> None:
        file = corpora.root / MELD
        file.unlink()
        file.symlink_to(file)

        problem = one(corpora.problems("meld"))

        assert problem.startswith(f"{MELD}: cannot be read: Too many levels of symbolic links")

    def test_a_folder_in_the_place_of_a_file(self, corpora: Corpora) -> None:
        (corpora.root / MEISD).unlink()
        (corpora.root / MEISD).mkdir()

        assert one(corpora.problems("meisd")).startswith(f"{MEISD}: cannot be read: Is a directory")

    def test_every_missing_file_is_named_before_a_dialogue_is_read(self, corpora: Corpora) -> None:
        for name in ("train", "test"):
            (corpora["meld"] / f"{name}_sent_emo.csv").unlink()

        with pytest.raises(DataError) as caught:
            read_corpus("meld", corpora["meld"], CorpusRecipe(), Notes())

        problems = [str(problem) for problem in caught.value.problems]
        assert [problem.rpartition("/")[2] for problem in problems[:2]] == [
            "train_sent_emo.csv: is missing",
            "test_sent_emo.csv: is missing",
        ]
        assert "does not hold the corpus" in problems[2]
        assert (
            "put MELD here (https://affective-meld.github.io), or leave it out with --skip meld"
            in problems[2]
        )

    @pytest.mark.parametrize(
        ("name", "other"),
        [("meld", "emorynlp"), ("emorynlp", "meld"), ("dailydialog", "meisd"), ("meisd", "iemocap")],
    )
    def test_the_folder_of_another_corpus(self, corpora: Corpora, name: CorpusName, other: str) -> None:
        corpora[name].rename(corpora.root / "away")
        corpora[other].rename(corpora[name])

        problems = corpora.problems(name)

        assert problems[-1].startswith(f"{name}: looks like the folder of another corpus: {other}")

    def test_missing_sessions(self, corpora: Corpora) -> None:
        (corpora["iemocap"] / "Session3").rename(corpora.root / "away")

        problems = corpora.problems("iemocap")

        assert problems[0] == "iemocap/Session3/dialog/transcriptions: is missing"
        assert problems[1] == "iemocap/Session3/dialog/EmoEvaluation: is missing"

    def test_dailydialog_with_neither_folder_nor_zip(self, corpora: Corpora) -> None:
        (corpora["dailydialog"] / "test.zip").unlink()
        (corpora.root / DAILY_LABELS).unlink()

        problems = corpora.problems("dailydialog")

        assert problems[:3] == [
            f"{DAILY_LABELS}: is missing, and so is train.zip",
            "dailydialog/test/dialogues_test.txt: is missing, and so is test.zip",
            "dailydialog/test/dialogues_emotion_test.txt: is missing, and so is test.zip",
        ]


class TestTextFiles:
    @pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("dailydialog", DAILY), ("iemocap", SPOKEN)])
    def test_an_empty_file(self, corpora: Corpora, name: CorpusName, file: str) -> None:
        corpora.edit(file, lambda _: b"\n")

        assert f"{file}: is empty" in corpora.problems(name)[0]

    @pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("dailydialog", DAILY), ("meisd", MEISD)])
    def test_another_encoding(self, corpora: Corpora, name: CorpusName, file: str) -> None:
        offset = 0

        def with_a_cp1252_quote(content: bytes) -> bytes:
            nonlocal offset
            lines = content.split(b"\n")
            offset = len(b"\n".join(lines[:4])) + 6
            return content[:offset] + b"\x92" + content[offset:]

        corpora.edit(file, with_a_cp1252_quote)

        problem = one(corpora.problems(name))
        assert problem.startswith(f"{file}:5: not UTF-8: byte 0x92 at offset {offset}")
        assert "to do: convert the file to UTF-8" in problem

    def test_utf16(self, corpora: Corpora) -> None:
        corpora.edit(MELD, lambda content: content.decode().encode("utf-16"))

        assert one(corpora.problems("meld")).startswith(f"{MELD}:1: not UTF-8: byte 0xff at offset 0")

    def test_a_nul(self, corpora: Corpora) -> None:
        corpora.replace_in_line(EMORY, 3, ",", "\0,")

        assert one(corpora.problems("emorynlp")).startswith(f"{EMORY}:3: a NUL byte at offset")


class TestTables:
    def test_a_missing_column(self, corpora: Corpora) -> None:
        corpora.replace_in_line(MELD, 1, "Utterance,", "Utterence,")

        problem = one(corpora.problems("meld"))

        assert problem.startswith(f"{MELD}:1: no column Utterance; is it Utterence?")
        assert "got: Sr No.,Utterence,Speaker,Emotion,Sentiment" in problem

    def test_every_missing_column_is_named(self, corpora: Corpora) -> None:
        corpora.edit(MEISD, lambda content: content.partition(b"\n")[2])

        problems = corpora.problems("meisd")

        assert [problem.split("\n")[0] for problem in problems[:3]] == [
            f"{MEISD}:1: no column TV Series",
            f"{MEISD}:1: no column dialog_ids",
            f"{MEISD}:1: no column uttr_ids",
        ]

    @pytest.mark.parametrize(
        ("name", "file", "label", "wrong", "nearest"),
        [
            ("meld", MELD, ",neutral,", ",nuetral,", "neutral"),
            ("emorynlp", EMORY, ",Neutral,", ",Powerfull,", "Powerful"),
            ("meisd", MEISD, ",neutral,neutral,", ",neutral,acceptence,", "acceptance"),
        ],
    )
    def test_an_unknown_label(
        self, corpora: Corpora, name: CorpusName, file: str, label: str, wrong: str, nearest: str
    ) -> None:
        lines = (corpora.root / file).read_text(encoding="utf-8").split("\n")
        line = next(number for number, text in enumerate(lines, 1) if label in text)
        corpora.replace_in_line(file, line, label, wrong)

        problem = one(corpora.problems(name))

        assert problem.startswith(f"{file}:{line}: unknown label")
        assert f"got: '{wrong.strip(',').split(',')[-1]}'" in problem
        assert f"to do: did you mean {nearest}?" in problem

    def test_a_first_label_that_names_no_emotion(self, corpora: Corpora) -> None:
        corpora.replace_in_line(MEISD, 2, ",neutral,neutral,", ",neutral,l,")

        assert one(corpora.problems("meisd")).startswith(f"{MEISD}:2: a label that names no emotion")

    def test_a_quote_that_does_not_close(self, corpora: Corpora) -> None:
        def cut_in_a_quote(content: bytes) -> bytes:
            return content[: content.rindex(b'"') - 3]

        lines = (corpora.root / MELD).read_bytes().count(b"\n")
        corpora.edit(MELD, cut_in_a_quote)

        problem = one(corpora.problems("meld"))

        assert problem.startswith(f"{MELD}:{lines}: not CSV in the row that begins here")
        assert "it may be cut off" in problem

    def test_a_quote_early_in_the_file_that_does_not_close(self, corpora: Corpora) -> None:
        corpora.replace_in_line(EMORY, 4, ",", ',"x')
        corpora.edit(EMORY, lambda content: content.replace(b'"', b"'").replace(b",'x", b',"x'))

        assert any(
            problem.startswith(f"{EMORY}:4: not CSV in the row that begins here")
            for problem in corpora.problems("emorynlp")
        )

    def test_a_file_cut_between_two_cells(self, corpora: Corpora) -> None:
        content = (corpora.root / MEISD).read_bytes()
        last = content.count(b"\n")
        corpora.edit(MEISD, lambda content: content[: content.rindex(b",00:")])

        problem = one(corpora.problems("meisd"))

        assert problem.startswith(f"{MEISD}:{last}: the number of cells differs from the header's")
        assert "expected: 15 cells\n  got: 7 cells" in problem

    def test_the_line_of_a_row_after_one_that_spans_lines(self, corpora: Corpora) -> None:
        path = corpora.root / EMORY
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        rows[1][0] = "two\nlines"
        rows[3].pop()
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

        assert one(corpora.problems("emorynlp")).startswith(f"{EMORY}:5: the number of cells differs")

    @pytest.mark.parametrize(
        ("cell", "wrong", "what"),
        [
            (0, "", "Utterance is empty"),
            (1, "", "Speaker is not a list of names"),
            (1, "Ada", "Speaker is not a list of names"),
            (1, "[1]", "Speaker is not a list of names"),
            (1, "[]", "a turn needs a speaker with a name"),
            (1, "['']", "a turn needs a speaker with a name"),
            (3, "one", "Scene_ID is not a whole number"),
            (4, "-1", "Utterance_ID is not a whole number"),
            (4, "9" * 5000, "Utterance_ID is not a whole number"),
            (7, "00:61:00.000", "not a time"),
        ],
    )
    def test_a_wrong_cell(self, corpora: Corpora, cell: int, wrong: str, what: str) -> None:
        def damaged(content: bytes) -> bytes:
            lines = content.decode().split("\n")
            row = ["Fine.", "['Ada Dahl']", "Neutral", "99", "1", "1", "1", "00:00:01.000", "00:00:02.000"]
            row[cell] = wrong
            return "\n".join([lines[0], ",".join(row), *lines[1:]]).encode()

        corpora.edit(EMORY, damaged)

        assert one(corpora.problems("emorynlp")).startswith(f"{EMORY}:2: {what}")

    @pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("emorynlp", EMORY)])
    def test_a_key_a_second_time(self, corpora: Corpora, name: CorpusName, file: str) -> None:
        def with_row_5_again(content: bytes) -> bytes:
            lines = content.split(b"\n")
            return b"\n".join([*lines[:-1], lines[4], b""])

        corpora.edit(file, with_row_5_again)
        last = (corpora.root / file).read_bytes().count(b"\n")

        problem = one(corpora.problems(name))

        assert problem.startswith(f"{file}:{last}: dialogue ")
        assert "a second time; first on line 5" in problem

    def test_a_dialogue_that_begins_again(self, corpora: Corpora) -> None:
        def with_a_late_row(content: bytes) -> bytes:
            lines = content.split(b"\n")
            return b"\n".join([*lines[:-1], lines[1], b""])

        corpora.edit(MEISD, with_a_late_row)
        last = (corpora.root / MEISD).read_bytes().count(b"\n")

        assert one(corpora.problems("meisd")).startswith(
            f"{MEISD}:{last}: dialogue 1 begins a second time; first on line 2"
        )

    def test_all_problems_of_all_files_at_once(self, corpora: Corpora) -> None:
        corpora.replace_in_line(MELD, 2, ",neutral,", ",nuetral,")
        corpora.edit("meld/dev_sent_emo.csv", lambda _: b"")
        corpora.edit("meld/test_sent_emo.csv", lambda content: content.replace(b",Speaker,", b",Who,"))

        places = [problem.split(": ")[0] for problem in corpora.problems("meld")]

        assert places == [f"{MELD}:2", "meld/dev_sent_emo.csv", "meld/test_sent_emo.csv:1"]

    def test_many_problems_are_counted(self, corpora: Corpora) -> None:
        corpora.edit(MELD, lambda content: content.replace(b",neutral,neutral,", b",calm,neutral,"))
        lines = (corpora.root / MELD).read_bytes().count(b",calm,neutral,")

        problems = corpora.problems("meld")

        assert len(problems) == MAX_PROBLEMS + 1
        assert problems[-1] == f"and so on: {lines - MAX_PROBLEMS} more problems like these"


class TestEmoryNLPJson:
    def test_a_file_cut_off(self, corpora: Corpora) -> None:
        corpora.edit(EMORY_JSON, lambda content: content[:5000])
        line = (corpora.root / EMORY_JSON).read_bytes().count(b"\n") + 1

        problem = one(corpora.problems("emorynlp", json=True))

        assert problem.startswith(f"{EMORY_JSON}:{line}:")
        assert "not JSON" in problem

    def test_a_missing_key(self, corpora: Corpora) -> None:
        corpora.edit(EMORY_JSON, lambda content: content.replace(b'"transcript"', b'"text"', 1))

        problem = one(corpora.problems("emorynlp", json=True))

        assert problem.startswith(
            f"{EMORY_JSON}: episodes.0.scenes.0.utterances.0.transcript: Field required"
        )

    def test_an_utterance_a_second_time(self, corpora: Corpora) -> None:
        corpora.edit(EMORY_JSON, lambda content: content.replace(b"_u002", b"_u001", 1))
        lines = (corpora.root / EMORY_JSON).read_text().split("\n")
        first, second = (number for number, line in enumerate(lines, 1) if "s01_e01_c01_u001" in line)

        problem = one(corpora.problems("emorynlp", json=True))

        assert problem.startswith(f"{EMORY_JSON}:{second}: dialogue s01_e01_c01, utterance 1 a second time")
        assert f"first on line {first}" in problem

    def test_an_unknown_label(self, corpora: Corpora) -> None:
        corpora.edit(EMORY_JSON, lambda content: content.replace(b'"Neutral"', b'"Netural"', 1))

        assert "unknown label" in one(corpora.problems("emorynlp", json=True))


class TestDailyDialog:
    def test_labels_that_do_not_fit(self, corpora: Corpora) -> None:
        corpora.replace_in_line(DAILY_LABELS, 3, "0 ", "")

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith(f"{DAILY}:3: the number of utterances differs from that of the labels")
        assert "train/dialogues_emotion_train.txt" in problem
        assert "expected: 10 utterances\n  got: 11 utterances" in problem

    def test_a_label_that_is_none(self, corpora: Corpora) -> None:
        corpora.replace_in_line(DAILY_LABELS, 3, "0 ", "7 ")

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith(f"{DAILY_LABELS}:3: unknown label")
        assert "expected: 0 1 2 3 4 5 6\n  got: '7'" in problem

    def test_a_text_cut_off(self, corpora: Corpora) -> None:
        corpora.edit(DAILY, lambda content: content[:-12])

        assert one(corpora.problems("dailydialog")).startswith(f"{DAILY}:60: does not end with __eou__")

    def test_fewer_lines_of_labels(self, corpora: Corpora) -> None:
        corpora.edit(DAILY_LABELS, lambda content: content.partition(b"\n")[2])

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith(f"{DAILY_LABELS}: has not as many lines as train/dialogues_train.txt")
        assert "expected: 60 lines\n  got: 59 lines" in problem

    def test_an_empty_utterance(self, corpora: Corpora) -> None:
        corpora.replace_in_line(DAILY, 2, "__eou__", "__eou__ __eou__")

        assert one(corpora.problems("dailydialog")).startswith(f"{DAILY}:2: an utterance is empty")

    @pytest.mark.parametrize("keep", [20, 3000])
    def test_a_truncated_zip(self, corpora: Corpora, keep: int) -> None:
        corpora.edit("dailydialog/test.zip", lambda content: content[:keep])

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith("dailydialog/test.zip: cannot be unzipped")
        assert "it may be cut off" in problem

    def test_a_zip_with_a_hole(self, corpora: Corpora) -> None:
        whole = (corpora.root / "dailydialog/test.zip").read_bytes()
        for start in range(0, len(whole), 97):
            (corpora.root / "dailydialog/test.zip").write_bytes(whole[:start] + whole[start + 31 :])

            assert "dailydialog/test.zip" in corpora.problems("dailydialog")[0]

    def test_a_zip_with_a_damaged_member(self, corpora: Corpora) -> None:
        corpora.edit("dailydialog/test.zip", lambda content: content.replace(b"__eou__", b"__EOU__", 1))

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith("dailydialog/test.zip: cannot be unzipped: Bad CRC-32")

    def test_a_zip_that_unpacks_to_far_too_much(self, corpora: Corpora) -> None:
        bomb = {"test/dialogues_test.txt": " " * (MAX_MEMBER_BYTES + 1)}
        corpora.edit("dailydialog/test.zip", lambda _: _zip(bomb))

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith("dailydialog/test.zip: cannot be unzipped: members of")

    def test_a_zip_without_a_member(self, corpora: Corpora) -> None:
        corpora.edit(
            "dailydialog/test.zip", lambda _: _zip({"../dialogues_test.txt": "x", "readme.txt": "y"})
        )

        problems = corpora.problems("dailydialog")

        assert problems[0].startswith("dailydialog/test.zip/test/dialogues_test.txt: is not in the zip")
        assert len(problems) == 2

    def test_a_fault_in_a_zip_names_the_member(self, corpora: Corpora) -> None:
        path = "test/dialogues_emotion_test.txt"
        members = _members(corpora.root / "dailydialog/test.zip")
        members[path] = f"9{members[path][1:]}"
        corpora.edit("dailydialog/test.zip", lambda _: _zip(members))

        assert "dailydialog/test.zip/test/dialogues_emotion_test.txt:1: unknown label" in one(
            corpora.problems("dailydialog")
        )

    def test_a_folder_and_a_zip_that_agree(self, corpora: Corpora) -> None:
        expected = corpora.read("dailydialog").dialogues
        _zip_the_train_folder(corpora, lambda text: text)

        read = corpora.read("dailydialog")

        assert read.dialogues == expected
        assert "dailydialog/train.zip" in read.notes.unknown_files

    def test_a_folder_and_a_zip_that_differ(self, corpora: Corpora) -> None:
        _zip_the_train_folder(corpora, lambda text: text.replace("0", "4", 1))

        problem = one(corpora.problems("dailydialog"))

        assert problem.startswith(f"{DAILY_LABELS}: differs from the same file in train.zip")


def _members(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _zip(members: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def _zip_the_train_folder(corpora: Corpora, change_labels: Callable[[str], str]) -> None:
    texts = {path: (corpora.root / path).read_text(encoding="utf-8") for path in (DAILY, DAILY_LABELS)}
    texts[DAILY_LABELS] = change_labels(texts[DAILY_LABELS])
    members = {path.removeprefix("dailydialog/"): text for path, text in texts.items()}
    (corpora["dailydialog"] / "train.zip").write_bytes(_zip(members))


class TestIemocap:
    def test_a_missing_evaluation(self, corpora: Corpora) -> None:
        (corpora.root / EVALUATED).unlink()

        assert one(corpora.problems("iemocap")).startswith(f"{EVALUATED}: cannot be read: No such file")

    def test_an_unknown_label(self, corpora: Corpora) -> None:
        corpora.replace_in_line(EVALUATED, 3, "\t[", "x\t[")

        assert one(corpora.problems("iemocap")).startswith(f"{EVALUATED}:3: unknown label")

    def test_a_damaged_evaluation(self, corpora: Corpora) -> None:
        corpora.replace_in_line(EVALUATED, 3, "\t", " ")

        problem = one(corpora.problems("iemocap"))

        assert problem.startswith(f"{EVALUATED}:3: not the first line of an evaluation")

    def test_a_turn_a_second_time(self, corpora: Corpora) -> None:
        corpora.edit(SPOKEN, lambda content: content + content.partition(b"\n")[0] + b"\n")

        problem = one(corpora.problems("iemocap"))

        assert "turn Ses02F_impro01_F000 a second time; first on line 1" in problem

    def test_a_labelled_turn_without_text(self, corpora: Corpora) -> None:
        def without_text(content: bytes) -> bytes:
            first, _, rest = content.partition(b"\n")
            return first.partition(b"]:")[0] + b"]: \n" + rest

        corpora.edit(SPOKEN, without_text)

        assert one(corpora.problems("iemocap")).startswith(f"{SPOKEN}:1: the text of the turn is empty")

    def test_a_folder_without_texts(self, corpora: Corpora) -> None:
        folder = corpora["iemocap"] / "Session4" / "dialog" / "transcriptions"
        for file in folder.iterdir():
            file.unlink()

        assert one(corpora.problems("iemocap")).endswith("transcriptions: holds no .txt file")
