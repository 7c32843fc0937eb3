"""The corpora that have synthetic files in `tests/corpora`, in the order of the bundled dataset recipes."""

CORPORA = ("meld", "emorynlp", "dailydialog", "meisd", "iemocap")
