"""What a reader notices while it reads, kept beside the dialogues that it yields."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import FileStamp

MAX_PROBLEMS = 20


@dataclass
class Notes:
    """The files that were read, the counts in them, and everything that was mended or is wrong.

    Attributes:
        files: Every file that was opened.
        unknown_files: Paths of those whose hash the registry does not know; none where it knows no file
            of the corpus.
        public_dialogues: Dialogues per split as they stand in the files, before any repair;
            the key None is a corpus without a split.
        public_utterances: Utterances likewise.
        repairs: How often each named rule mended or dropped something.
        problems: What makes the corpus unusable; `check` raises them together.
    """

    files: list[FileStamp] = field(default_factory=list)
    unknown_files: list[str] = field(default_factory=list)
    public_dialogues: Counter[Split | None] = field(default_factory=Counter)
    public_utterances: Counter[Split | None] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def check(self) -> None:
        """Raises what was found so far.

        Raises:
            DataError: With the first problems and the number of those not shown.
        """
        if not self.problems:
            return
        more = len(self.problems) - MAX_PROBLEMS
        shown = self.problems[:MAX_PROBLEMS]
        if more > 0:
            shown = [*shown, Problem("and so on", f"{more} more problems like these")]
        raise DataError(shown)
