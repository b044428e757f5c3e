"""How a data set was made, beside it as recipe.json, so that it can be made again, or gone on with."""

import json
from pathlib import Path
from typing import Any

from service.core.version import VERSION
from worker.data.errors import DataError

RECIPE = "recipe.json"


def keep_recipe(folder: Path, recipe: dict[str, Any]) -> None:
    """Write a recipe (JSON values) into a data set's folder, with the version of the project.

    Raises DataError where the folder was begun by another recipe, since its sequences would not go together.
    """
    file = folder / RECIPE
    if file.is_file():
        old = json.loads(file.read_text(encoding="utf-8"))
        if differing := [key for key in recipe if old.get(key) != recipe[key]]:
            key = differing[0]
            raise DataError(
                f"{file} says {key} {old.get(key)!r}, and now it is {recipe[key]!r}; go on with the settings "
                "that the data set was begun with, or choose another folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{RECIPE}.part")
    part.write_text(json.dumps({"version": VERSION, **recipe}, indent=1) + "\n", encoding="utf-8")
    part.replace(file)
