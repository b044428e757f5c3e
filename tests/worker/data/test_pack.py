"""`worker data pack`: the packed data set reads as the unpacked one, and is whole or not there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from model import load_config
from worker.commands.data import app
from worker.data import DataError, build_dataset
from worker.data.dataset import HumansDataset
from worker.data.frames import NpzFrames
from worker.data.pack import Source
from worker.data.packed import packed_folder, write_packed

command = Typer()
command.add_typer(app, name="data")

SEQUENCE = Path("D-FAUST") / "50001_alpha"


def pack(folder: Path) -> Result:
    return CliRunner().invoke(command, ["data", "pack", str(folder)], env={"COLUMNS": "200"})


def humans_dataset(humans: Path, split: Any = "train", **data: Any) -> HumansDataset:
    data = {"path": str(humans), "offset_sequence": 0} | data
    config = load_config("pointcloud/oflow", {"data": data, "model": {"loss_corr": True}})
    dataset = build_dataset(config, split)
    assert isinstance(dataset, HumansDataset)
    return dataset


def delete_frames(humans: Path) -> None:
    for file in humans.rglob("*.npz"):
        file.unlink()
    for folder in [*humans.rglob("pcl_seq"), *humans.rglob("points_seq")]:
        folder.rmdir()


@pytest.mark.parametrize("packed_bits", [True, False])
def test_packed_items_are_the_unpacked_ones(humans: Path, packed_bits: bool) -> None:
    if not packed_bits:
        for file in humans.rglob("points_seq/*.npz"):
            with np.load(file) as archive:
                arrays = dict(archive)
            np.savez(file, **arrays | {"occupancies": np.unpackbits(arrays["occupancies"], count=301)})
    splits = {s: humans_dataset(humans, s, points_unpackbits=packed_bits) for s in ("train", "val", "test")}
    unpacked = {s: [dataset[i] for i in range(len(dataset))] for s, dataset in splits.items()}
    truth = splits["test"].truth(3)
    done = pack(humans)
    assert done.exit_code == 0, done.output
    assert "6 folders packed" in done.output
    delete_frames(humans)
    assert "0 folders packed (0.00 GB), 6 were packed before" in pack(humans).output
    for split, items in unpacked.items():
        dataset = humans_dataset(humans, split, points_unpackbits=packed_bits)
        assert len(dataset) == len(items)
        for index, wanted in enumerate(items):
            found = dataset[index]
            assert found.keys() == wanted.keys()
            for key in wanted:
                np.testing.assert_array_equal(found[key], wanted[key], strict=True)
    for key, array in humans_dataset(humans, "test", points_unpackbits=packed_bits).truth(3).items():
        np.testing.assert_array_equal(array, truth[key], strict=True)


def test_what_is_packed_is_kept_and_what_changed_is_packed_again(humans: Path) -> None:
    pack(humans)
    marks = {folder: folder.stat().st_ino for folder in humans.rglob("*.packed")}
    assert len(marks) == 6
    changed = humans / SEQUENCE / "pcl_seq" / "00000002.npz"
    with np.load(changed) as archive:
        arrays = dict(archive)
    np.savez(changed, **arrays | {"points": arrays["points"] / 2})
    later = time.time() + 5
    os.utime(changed, (later, later))
    missing = humans / "D-FAUST" / "50002_beta" / "points_seq.packed"
    (missing / "scale.npy").unlink()  # as after a disk failure
    assert "2 folders packed" in pack(humans).output
    other = {folder for folder in humans.rglob("*.packed") if folder.stat().st_ino != marks[folder]}
    assert other == {packed_folder(changed.parent), missing}
    np.testing.assert_array_equal(
        np.load(packed_folder(changed.parent) / "points.npy")[2], arrays["points"] / 2
    )


def test_a_killed_run_leaves_nothing_half_done_and_is_taken_up_again(humans: Path) -> None:
    # The process dies by SIGKILL in the middle of its third folder, as when a machine goes down.
    script = (
        "import os, signal, worker.data.pack as pack, pathlib, sys\n"
        "left = [60]\n"
        "class Frames(pack.NpzFrames):\n"
        "    def __getitem__(self, index):\n"
        "        left[0] -= 1\n"
        "        if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().__getitem__(index)\n"
        "pack.NpzFrames = Frames\n"
        "pack.pack(pathlib.Path(sys.argv[1]))\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(humans)], capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert len(list(humans.rglob("*.packed"))) == 2
    assert len(list(humans.rglob(".*.part"))) == 1
    assert len(humans_dataset(humans)) == 16  # what is packed and what is not, side by side
    assert "4 folders packed" in pack(humans).output
    assert not list(humans.rglob(".*.part"))
    assert len(list(humans.rglob("*.packed"))) == 6


def test_a_frame_that_changes_while_it_is_packed_is_packed_again(humans: Path) -> None:
    folder = humans / SEQUENCE / "points_seq"
    file = folder / "00000000.npz"

    def rewrite(size: int) -> None:
        time.sleep(0.001)
        file.write_bytes(file.read_bytes())

    write_packed(folder, NpzFrames(folder), rewrite)
    assert not Source.of(folder).is_packed()
    write_packed(folder, NpzFrames(folder), lambda size: None)
    assert Source.of(folder).is_packed()


def test_frames_that_differ_are_refused_and_leave_nothing(humans: Path) -> None:
    file = humans / SEQUENCE / "pcl_seq" / "00000005.npz"
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, **arrays | {"points": arrays["points"][:99]})
    done = pack(humans / SEQUENCE)
    assert done.exit_code == 2
    assert f"{file} holds points float16 [99, 3]" in done.output.replace("\n", "")
    assert not list((humans / SEQUENCE).glob("*pcl_seq.*"))


def test_packed_data_that_is_out_of_date_or_damaged_is_named(humans: Path) -> None:
    pack(humans)
    folder = humans / SEQUENCE / "pcl_seq.packed"
    points = (folder / "points.npy").read_bytes()
    (folder / "points.npy").write_bytes(points[: len(points) // 2])
    with pytest.raises(DataError, match=r"points\.npy cannot be read.*worker data pack"):
        humans_dataset(humans)
    (folder / "points.npy").write_bytes(points)
    np.save(folder / "scale.npy", np.ones(7, np.float32))
    with pytest.raises(DataError, match=r"scale\.npy is \[7\] for 24 frames"):
        humans_dataset(humans)
    pack(humans)
    (humans / SEQUENCE / "pcl_seq" / "00000023.npz").unlink()
    with pytest.raises(DataError, match=r"holds 24 frames.*worker data pack"):
        humans_dataset(humans)


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    for folder, told in ((tmp_path, "holds no frames"), (tmp_path / "none", "there is no folder")):
        done = pack(folder)
        assert done.exit_code == 2
        assert told in done.output


def test_a_full_disk_is_told_before_anything_is_written(
    humans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    done = pack(humans)
    assert done.exit_code == 2
    assert "packing needs" in done.output
    assert not list(humans.rglob("*.packed"))


def test_progress_counts_every_byte(humans: Path) -> None:
    folder = humans / SEQUENCE / "points_seq"
    told: list[int] = []
    write_packed(folder, NpzFrames(folder), told.append)
    assert told == [301 * 3 * 2 + 38] * 24


def test_deletion_is_not_advised_before_meshes_are_there(humans: Path) -> None:
    shutil.rmtree(humans / SEQUENCE / "mesh_seq", ignore_errors=True)
    output = pack(humans).output
    assert "may be deleted" not in output
    assert "worker data migrate" in output
    for folder in humans.glob("*/*/pcl_seq"):
        (folder.parent / "mesh_seq").mkdir(exist_ok=True)
    assert "may be deleted" in pack(humans).output
