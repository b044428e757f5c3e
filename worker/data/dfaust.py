"""The published split of D-FAUST (Bogo et al., CVPR 2017), by the names of sequences, <person>_<motion>."""

from pathlib import Path

from rich.console import Console

PEOPLE = {"50002", "50004", "50007", "50009", "50020", "50021", "50022", "50025", "50026", "50027"}
NEW_INDIVIDUAL = "50021"  # the person of the second test
TEST = {
    "50002_light_hopping_loose",
    "50004_punching",
    "50007_shake_shoulders",
    "50009_chicken_wings",
    "50020_chicken_wings",
    "50022_light_hopping_loose",
    "50025_light_hopping_loose",
    "50026_shake_arms",
    "50027_shake_shoulders",
}
VAL = {
    "50004_chicken_wings",
    "50007_light_hopping_loose",
    "50020_hips",
    "50020_running_on_spot",
    "50025_shake_arms",
}
OVERFIT = {"50026_one_leg_jump"}


def write_splits(folder: Path) -> list[Path]:
    """Write the published lists that a class of a data set lacks, of the sequences that it holds.

    None where a sequence is not of a person of D-FAUST, and no empty ones. Returns the files.
    """
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and child.name[0] not in "._")
    if not names or any(name.partition("_")[0] not in PEOPLE for name in names):
        return []
    written = []
    for split, listed in published_splits(names).items():
        file = folder / f"{split}.lst"
        if listed and not file.exists():
            file.write_text("\n".join(listed) + "\n", encoding="utf-8")
            written.append(file)
    return written


def tell_splits(folder: Path, console: Console) -> None:
    """Write these lists, and say so."""
    if written := write_splits(folder):
        names = ", ".join(file.name for file in written)
        console.print(f"{folder}: the published split of D-FAUST in {names}", highlight=False)


def published_splits(names: list[str]) -> dict[str, list[str]]:
    """The names of each published list, in their order."""
    new = [name for name in names if name.partition("_")[0] == NEW_INDIVIDUAL]
    held_out = VAL | TEST | set(new)
    train = [name for name in names if name not in held_out]
    test = [name for name in names if name in TEST]
    return {
        "train": train,
        "val": [name for name in names if name in VAL],
        "test": test,
        "test_new_individual": new,
        "overfit": [name for name in names if name in OVERFIT],
        "train_generative": sorted(train + test + new),
    }
