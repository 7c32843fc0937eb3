"""The steps of the release, each a function from folder to folder; the package names the public ones.

A step that finds its recipe, its inputs and the versions unchanged does nothing and says so; a step that
fails leaves what was there before.
"""
