"""The steps of the release, each a function from folder to folder: the only door of the command line.

The package itself exports the public ones.
"""

from dialoguellm_release.step import StepResult as StepResult
