"""Data sets that are incomplete or not what the settings say: the message names the file and the setting."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import load_config
from model.config.schema import Config
from worker.data import DataError, build_dataset, windows
from worker.data.dataset import HumansDataset


def config_of(humans: Path, **data: Any) -> Config:
    return load_config("pointcloud/oflow", {"data": {"path": str(humans), "offset_sequence": 0} | data})


def read_all(config: Config) -> None:
    dataset = build_dataset(config, "train")
    for index in range(len(dataset)):
        dataset[index]


def refuses(config: Config, *told: str) -> None:
    """Making the data set and reading all of it is refused in these words."""
    with pytest.raises(DataError) as refusal:
        read_all(config)
    for words in told:
        assert words in str(refusal.value)


def test_sequences_that_are_too_short_are_named_with_the_settings(humans: Path) -> None:
    refuses(
        config_of(humans, offset_sequence=15),
        *("50001_alpha 24", "50002_beta 24", "data.offset_sequence 15", "data.length_sequence 17", "32"),
    )
    refuses(config_of(humans, n_files_per_sequence=16), "data.n_files_per_sequence 16", "17")


def test_missing_folders_are_named(humans: Path) -> None:
    refuses(config_of(humans / "elsewhere"), str(humans / "elsewhere"), "data.path")
    refuses(config_of(humans, classes=["DFAUST"]), str(humans / "DFAUST"), "data.classes")
    shutil.rmtree(humans / "D-FAUST" / "50002_beta" / "points_seq")
    refuses(config_of(humans), str(humans / "D-FAUST" / "50002_beta" / "points_seq"))
    shutil.rmtree(humans / "D-FAUST" / "50002_beta")
    refuses(config_of(humans), "train.lst", "50002_beta")


def test_a_missing_frame_is_named_before_training_starts(humans: Path) -> None:
    sequence = humans / "D-FAUST" / "50001_alpha"
    (sequence / "points_seq" / "00000007.npz").unlink()
    refuses(config_of(humans), str(sequence / "points_seq"), "00000007", "pcl_seq")
    (sequence / "pcl_seq" / "00000007.npz").unlink()
    (sequence / "pcl_seq" / "00000009.npz").unlink()
    refuses(config_of(humans), f"{sequence / 'pcl_seq'} lacks frame 00000009")


def test_a_frame_that_goes_away_while_training_is_named(humans: Path) -> None:
    dataset = build_dataset(config_of(humans), "train")
    file = humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "00000003.npz"
    file.unlink()
    with pytest.raises(DataError, match=f"{re.escape(str(file))} is missing"):
        dataset[0]


def test_packed_bits_and_the_setting_must_agree(humans: Path) -> None:
    refuses(
        config_of(humans, points_unpackbits=False), "points_seq/00000000.npz", "data.points_unpackbits: true"
    )
    for file in humans.rglob("points_seq/*.npz"):
        with np.load(file) as archive:
            arrays = dict(archive)
        np.savez(file, **arrays | {"occupancies": np.unpackbits(arrays["occupancies"], count=301)})
    refuses(
        config_of(humans, points_unpackbits=True), "points_seq/00000000.npz", "data.points_unpackbits: false"
    )
    assert build_dataset(config_of(humans, points_unpackbits=False), "train")[0]["points.occ"].sum() > 0


@pytest.mark.parametrize("change", [b"", b"not a zip archive", None])
def test_a_damaged_frame_is_named(humans: Path, change: bytes | None) -> None:
    file = humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "00000004.npz"
    file.write_bytes(file.read_bytes()[:900] if change is None else change)
    refuses(config_of(humans), f"{file} cannot be read as .npz")


def test_arrays_that_are_missing_or_of_another_shape_are_named(humans: Path) -> None:
    file = humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "00000000.npz"
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, points=arrays["points"], loc=arrays["loc"])
    refuses(config_of(humans), str(file), "scale")
    np.savez(file, **arrays | {"points": arrays["points"][:, :2]})
    refuses(config_of(humans), str(file), "[157, 2]", "[N, 3]")
    np.savez(file, **arrays | {"points": arrays["points"][:100]})
    refuses(config_of(humans), str(file), "100 to 157 points", "same particle")


def test_files_that_are_not_frames_are_named(humans: Path) -> None:
    file = humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "copy of 1.npz"
    file.touch()
    refuses(config_of(humans), str(file), "00000012.npz")


def test_without_a_list_every_sequence_is_taken_and_said_so(
    humans: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows.log, "disabled", False)  # import-linter turns off the loggers it finds
    (humans / "D-FAUST" / "train.lst").unlink()
    dataset = build_dataset(config_of(humans), "train")
    assert isinstance(dataset, HumansDataset)
    names = [window.name for window in dataset.windows]
    assert list(dict.fromkeys(names)) == ["50001_alpha", "50002_beta", "50003_gamma"]
    assert "train.lst" in caplog.text
