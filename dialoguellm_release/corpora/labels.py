"""A corpus's native labels, read by the tables of its registry entry."""

from __future__ import annotations

import difflib

from dialoguellm_release.corpora.notes import Fault, Notes
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import Label

NativeLabel = tuple[str, Label]


class NativeLabels:
    """Reads native labels, counts what it mends or drops, and refuses what no table knows.

    Args:
        ignores_case: Whether case and outer white space of a label mean nothing in this corpus.
    """

    def __init__(self, entry: CorpusEntry, notes: Notes, *, ignores_case: bool = False) -> None:
        self._entry = entry
        self._repairs = notes.repairs
        self._ignores_case = ignores_case

    def read(self, cell: str) -> NativeLabel:
        """The native label, mended, and its canonical one.

        Raises:
            Fault: The label is unknown, or one that the registry drops.
        """
        found = self.read_or_drop(cell)
        if found is None:
            raise Fault(
                "a label that names no emotion",
                got=repr(cell),
                fix="correct the label",
                code="corpora.dropped_label",
            )
        return found

    def read_or_drop(self, cell: str) -> NativeLabel | None:
        """The native label, mended, and its canonical one; None where the label is dropped, which is counted.

        Raises:
            Fault: The label is unknown; names the nearest one.
        """
        entry = self._entry
        native = cell
        if native not in entry.native_labels:
            native = self._mended(cell)
        if native in entry.dropped_labels:
            self._repairs[f"{entry.name}.dropped_label_{native}"] += 1
            return None
        label = entry.native_labels.get(native)
        if label is None:
            raise Fault(
                "unknown label",
                expected=", ".join(entry.native_labels),
                got=repr(cell),
                fix=self._hint(native),
                code="corpora.unknown_label",
            )
        return native, label

    def _mended(self, cell: str) -> str:
        name = self._entry.name
        native = cell.strip().lower() if self._ignores_case else cell
        if native != cell:
            self._repairs[f"{name}.label_case_or_space"] += 1
        if native in self._entry.spellings:
            self._repairs[f"{name}.label_respelled"] += 1
            return self._entry.spellings[native]
        return native

    def _hint(self, native: str) -> str:
        known = {label.lower(): label for label in self._entry.native_labels}
        nearest = difflib.get_close_matches(native.strip().lower(), known, n=1, cutoff=0.0)
        return f"did you mean {known[nearest[0]]}?"
