"""Times, labels, encodings and the DailyDialog join, each on its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.corpora.cells import Fault, NativeLabels, Notes, c1_as_cp1252, seconds, utf8_as_utf8
from dialoguellm_release.corpora.readers.dailydialog import mended
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.schemas.labels import CorpusName
from tests.corpus_names import CORPORA

CP1252 = st.characters(codec="cp1252", exclude_characters="".join(map(chr, range(0x80, 0xA0))))


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("0:16:31,240", 991.24),
        ("00:16:31,240", 991.24),
        ("00:02:27:589", 147.589),
        ("00:00:02.877", 2.877),
        ("00:01:02,12", 62.12),
        ("1:00:00,5", 3600.5),
    ],
)
def test_times(clock: str, expected: float) -> None:
    assert seconds(clock) == expected


@pytest.mark.parametrize(
    "clock",
    ["", "16:31,240", "00:16:31", "00:60:00,000", "00:16:2", "00:16:31,1234", "-0:16:31,240", "٠:٠٠:٠٠,٠"],
)
def test_what_is_no_time(clock: str) -> None:
    with pytest.raises(Fault, match="not a time"):
        seconds(clock)


@given(st.integers(0, 99 * 3_600_000 - 1), st.sampled_from(",.:"), st.booleans())
def test_every_written_time_is_read_back(milliseconds: int, mark: str, short: bool) -> None:
    whole, thousandths = divmod(milliseconds, 1000)
    hours, minutes = whole // 3600, whole // 60 % 60
    clock = f"{hours:{'01' if short else '02'}}:{minutes:02}:{whole % 60:02}{mark}{thousandths:03}"

    assert seconds(clock) == milliseconds / 1000


@given(st.text(CP1252))
def test_cp1252_read_as_latin_1_is_mended(text: str) -> None:
    assert c1_as_cp1252(text.encode("cp1252").decode("latin-1")) == text
    assert c1_as_cp1252(text) == text


@given(st.text())
def test_mending_twice_changes_nothing_more(text: str) -> None:
    for mend in (c1_as_cp1252, utf8_as_utf8):
        assert mend(mend(text)) == mend(text)


def test_codes_that_cp1252_leaves_open_stay() -> None:
    assert c1_as_cp1252("a\x81b\x85") == "a\x81b…"


@given(st.text(st.characters(max_codepoint=0x7F)), st.integers(1, 3))
def test_utf8_read_as_latin_1_is_mended(plain: str, times: int) -> None:
    text = f"{plain}é—♪{plain}’"
    broken = text
    for _ in range(times):
        broken = broken.encode().decode("latin-1")

    assert utf8_as_utf8(broken) == text
    assert utf8_as_utf8(text) == text


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("fiancã©e", "fiancée"),
        ("rã\x83â©sumã\x83â©", "résumé"),
        ("toâ\xa0talk", "to\xa0talk"),
        ("â\x99ª", "♪"),
        ("canâ\x80\x99t", "can’t"),
        ("mãe", "mãe"),
        ("château", "château"),
        ("must\x92ve", "must\x92ve"),
        ("fiancée’s", "fiancée’s"),
    ],
)
def test_lower_cased_double_encoding(broken: str, text: str) -> None:
    assert utf8_as_utf8(broken) == text


@pytest.mark.parametrize("name", CORPORA)
def test_every_label_of_the_registry_is_read(name: CorpusName) -> None:
    entry = corpus_entry(name)
    notes = Notes()
    labels = NativeLabels(entry, notes)

    assert {native: labels.read(native) for native in entry.label_map} == {
        native: (native, label) for native, label in entry.label_map.items()
    }
    assert notes.repairs == {}
    for wrong, native in entry.spellings.items():
        assert labels.read(wrong) == (native, entry.label_map[native])
    for native in entry.dropped_labels:
        assert labels.read_or_drop(native) is None
        with pytest.raises(Fault, match="names no emotion"):
            labels.read(native)
    assert set(entry.label_space) == set(entry.label_map.values())


@given(
    st.sampled_from(sorted(corpus_entry("meisd").label_map)),
    st.sampled_from(["", " ", "  ", "\t"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_case_and_outer_space_of_meisd_labels_mean_nothing(native: str, space: str, case: object) -> None:
    assert callable(case)
    cell = f"{space}{case(native)}{space}"
    notes = Notes()

    read = NativeLabels(corpus_entry("meisd"), notes, ignores_case=True).read(cell)

    assert read == (native, corpus_entry("meisd").label_map[native])
    assert notes.repairs.total() == (cell != native)


@given(st.text(min_size=1))
def test_an_unknown_label_is_refused_with_a_suggestion(cell: str) -> None:
    entry = corpus_entry("meld")
    if cell in entry.label_map:
        return
    with pytest.raises(Fault) as caught:
        NativeLabels(entry, Notes()).read(cell)

    assert caught.value.at("line").fix in {f"did you mean {native}?" for native in entry.label_map}


LINE = ["Is it late ?", "Yes .", "I missed it .", "I'll walk .", "Good ."]


def test_a_turn_cut_in_two_is_joined() -> None:
    assert mended(LINE, ["0"] * 4) == ["Is it late ?", "Yes .", "I missed it . I'll walk .", "Good ."]


@pytest.mark.parametrize(
    ("utterances", "labels"),
    [
        (LINE, ["0", "0", "4", "0"]),  # the join could move a label
        (LINE, ["0"] * 3),  # two too many
        (LINE, ["0"] * 6),  # too few
        (["Yes .", "No .", "Well ."], ["0"] * 2),  # no pair begins alike
        (["I am .", "I do .", "I can ."], ["0"] * 2),  # two pairs begin alike
        (["I am late ?", "I see .", "No ."], ["0"] * 2),  # a question, and its answer
        (["Yes ."], []),
    ],
)
def test_what_is_not_surely_one_turn_is_not_joined(utterances: list[str], labels: list[str]) -> None:
    assert mended(utterances, labels) is None
