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
from worker.data import dataset as dataset_module
from worker.data.dataset import HumansDataset
from worker.evaluation.validation import _batches
from worker.processes import Processes


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


@pytest.mark.parametrize("lacking", ["points_seq", "pcl_seq"])
def test_windows_with_a_frame_that_a_folder_lacks_are_left_out(
    humans: Path, lacking: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those after it still pair the frames of the same number."""
    monkeypatch.setattr(windows.log, "disabled", False)  # import-linter turns off the loggers it finds
    config = config_of(humans, length_sequence=4, input_pointcloud_noise=0.0)
    config = config.model_copy(update={"model": config.model.model_copy(update={"loss_corr": True})})
    whole = build_dataset(config, "train")
    assert isinstance(whole, HumansDataset)
    again = whole.read(12, np.random.default_rng(0))
    file = humans / "D-FAUST" / "50001_alpha" / lacking / "00000007.npz"
    file.unlink()
    left = build_dataset(config, "train")
    assert isinstance(left, HumansDataset)
    assert f"{file.parent.parent}: frame 00000007 is not in all of" in caplog.text
    assert len(left) == len(whole) - 4
    starts = [window.start for window in left.windows if window.name == "50001_alpha"]
    assert starts == [start for start in range(24 - 4 + 1) if not start <= 7 < start + 4]
    place = next(k for k, window in enumerate(left.windows) if window.start == 12)
    item = left.read(place, np.random.default_rng(0))
    for name in ("points_t", "pointcloud", "inputs"):
        assert np.array_equal(item[name], again[name]), name


def test_training_goes_on_without_a_damaged_frame(
    humans: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module.log, "disabled", False)
    dataset = build_dataset(config_of(humans), "train")
    (humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "00000003.npz").write_bytes(b"half")
    items = [dataset.sample((seed,)) for seed in range(12)]
    assert all(np.isfinite(item["inputs"]).all() for item in items)
    assert "an item is left out" in caplog.text
    assert "00000003.npz" in caplog.text
    assert np.array_equal(dataset.sample((3,))["inputs"], items[3]["inputs"]), "the same for the same seed"
    for file in humans.rglob("pcl_seq/*.npz"):
        file.write_bytes(b"half")
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        dataset.sample((0,))


def test_validation_goes_on_without_a_damaged_frame(humans: Path) -> None:
    config = config_of(humans, val_split="train")
    training = {"n_eval_points": 20, "num_workers": 0, "batch_size_val": 2}
    config = config.model_copy(update={"training": config.training.model_copy(update=training)})
    dataset = build_dataset(config, "val")
    count = len(dataset)
    (humans / "D-FAUST" / "50001_alpha" / "pcl_seq" / "00000003.npz").write_bytes(b"half")
    batches = list(_batches(dataset, config, "cpu", Processes()))
    assert 0 < sum(len(batch["inputs"]) for batch in batches) < count


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
    for file in (humans / "D-FAUST").glob("*.lst"):
        file.unlink()
    build_dataset(config_of(humans), "val")
    assert "ALL SPLITS ARE ALL SEQUENCES" in caplog.text
