"""DialogueLLM: emotion recognition in conversations with LoRA adapters, from corpora to a published release.

The public names are listed in `__init__.pyi`; each is imported when it is first used.

Example:
    >>> from dialoguellm_release import build_dataset
    >>> build_dataset("demo", out="build/demo/dataset")  # doctest: +SKIP
"""

import lazy_loader

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("dialoguellm-release")
    return _lazily(name)
