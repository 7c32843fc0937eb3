"""Recipes by name or path: listed, loaded, shown and validated."""

from dialoguellm_release.recipes.catalogue import as_yaml as as_yaml
from dialoguellm_release.recipes.catalogue import json_schema as json_schema
from dialoguellm_release.recipes.catalogue import leaves as leaves
from dialoguellm_release.recipes.catalogue import load_any as load_any
from dialoguellm_release.recipes.catalogue import validate_recipes as validate_recipes
from dialoguellm_release.recipes.names import as_kind as as_kind
from dialoguellm_release.recipes.names import bundled as bundled
