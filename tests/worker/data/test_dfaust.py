"""The published split of D-FAUST, written where sequences have its names."""

from pathlib import Path

from worker.data.dfaust import published_splits, write_splits

NAMES = [
    *("50002_knees", "50002_light_hopping_loose", "50004_chicken_wings", "50004_punching", "50020_hips"),
    *("50021_knees", "50021_punching", "50026_one_leg_jump"),
]


def folder_of(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_every_list() -> None:
    assert published_splits(NAMES) == {
        "train": ["50002_knees", "50026_one_leg_jump"],
        "val": ["50004_chicken_wings", "50020_hips"],
        "test": ["50002_light_hopping_loose", "50004_punching"],
        "test_new_individual": ["50021_knees", "50021_punching"],
        "overfit": ["50026_one_leg_jump"],
        "train_generative": [
            *("50002_knees", "50002_light_hopping_loose", "50004_punching"),
            *("50021_knees", "50021_punching", "50026_one_leg_jump"),
        ],
    }


def test_lists_that_are_there_stay_and_empty_ones_are_not_written(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["50002_knees", "50004_punching"])
    (folder / "test.lst").write_text("50002_knees\n")
    assert [file.name for file in write_splits(folder)] == ["train.lst", "train_generative.lst"]
    assert (folder / "train.lst").read_text() == "50002_knees\n"
    assert (folder / "test.lst").read_text() == "50002_knees\n"
    assert not (folder / "val.lst").exists()


def test_other_data_gets_no_lists(tmp_path: Path) -> None:
    assert write_splits(folder_of(tmp_path / "a", ["50002_knees", "50003_knees"])) == []
    (tmp_path / "b").mkdir()
    assert write_splits(tmp_path / "b") == []
