"""What training and validation rely on: the same items for the same seeds, in any process."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from torch.utils.data import DataLoader

from model import load_config
from worker.data import build_dataset, windows
from worker.data.dataset import HumansDataset
from worker.data.fields import Item
from worker.data.pack import pack


def dataset_of(tiny_humans: Path, split: Any, **data: Any) -> HumansDataset:
    data = {"path": str(tiny_humans), "offset_sequence": 0} | data
    config = load_config("pointcloud/oflow", {"data": data, "model": {"loss_corr": True}})
    dataset = build_dataset(config, split)
    assert isinstance(dataset, HumansDataset)
    return dataset


def same(one: Item, other: Item) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_an_item_depends_on_its_seed_alone(tiny_humans: Path) -> None:
    dataset, again = dataset_of(tiny_humans, "train"), dataset_of(tiny_humans, "train")
    np.random.seed(1)
    first = dataset.sample((7, 100, 3))
    np.random.seed(2)
    again.sample((7, 100, 2))
    assert same(first, again.sample((7, 100, 3)))
    assert not same(first, dataset.sample((7, 101, 3)))


def test_samples_come_from_all_windows_and_frames(tiny_humans: Path) -> None:
    dataset = dataset_of(tiny_humans, "train")
    items = [dataset.sample((1, step)) for step in range(200)]
    assert {int(item["idx"]) for item in items} == set(range(16))
    assert len({float(item["points_t.time"]) for item in items}) == 17
    assert {float(item["points.time"]) for item in items} == {0.0}


def test_validation_is_the_same_each_time_and_its_points_lie_where_they_were_judged(
    tiny_humans: Path,
) -> None:
    dataset = dataset_of(tiny_humans, "val")
    assert same(dataset[1], dataset[1])
    assert not np.array_equal(dataset[1]["inputs"], dataset[2]["inputs"])
    truth = dataset.truth(1)
    item = dataset[1]
    np.testing.assert_array_equal(item["points"], truth["points"])
    np.testing.assert_array_equal(item["points.occ"], truth["points.occ"])
    np.testing.assert_array_equal(item["points_mesh"], truth["pointcloud"])


def test_inputs_are_noisy_particles_of_the_surface(tiny_humans: Path) -> None:
    dataset = dataset_of(tiny_humans, "train", input_pointcloud_n=4000, input_pointcloud_noise=0.01)
    clean = dataset_of(tiny_humans, "train", input_pointcloud_n=4000, input_pointcloud_noise=0.0)
    noise = dataset[0]["inputs"] - clean[0]["inputs"]
    assert 0.0098 < noise.std() < 0.0102
    surface = dataset.truth(0)["pointcloud"]  # [17, 157, 3]
    drawn = clean[0]["inputs"]  # [17, 4000, 3]
    rows = np.abs(drawn[0][:, None] - surface[0]).max(axis=-1).argmin(axis=1)  # [4000]
    np.testing.assert_array_equal(drawn, surface[:, rows])
    assert len(set(rows)) == 157


def test_the_index_can_be_the_input(tiny_humans: Path) -> None:
    item = dataset_of(tiny_humans, "train", input_type="idx")[5]
    assert item["inputs"] == 5
    assert item["inputs"].dtype == np.int64


def test_an_index_out_of_range_is_refused(tiny_humans: Path) -> None:
    dataset = dataset_of(tiny_humans, "val")
    assert same(dataset[-1], dataset[2])
    with pytest.raises(IndexError, match="item 3 of 3"):
        dataset[3]


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("packed", [True, False])
def test_loader_processes_read_what_this_one_reads(humans: Path, context: str, packed: bool) -> None:
    if packed:
        assert pack(humans) == 0
    dataset = dataset_of(humans, "train")
    here = [dataset[i] for i in range(16)]  # and leaves files open and mapped here
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=context)
    for number, batch in enumerate(loader):
        assert batch["inputs"].shape == (4, 17, 300, 3)
        for key in ("inputs", "points.occ", "points_t.time", "idx"):
            wanted = np.stack([item[key] for item in here[4 * number : 4 * number + 4]])
            np.testing.assert_array_equal(batch[key].numpy(), wanted)


def test_a_pickled_dataset_holds_no_data(humans: Path) -> None:
    pack(humans)
    dataset = dataset_of(humans, "train")
    dataset[0]
    assert len(pickle.dumps(dataset)) < 20_000


def test_reading_many_sequences_keeps_few_files_open(tmp_path: Path) -> None:
    sequences = windows.OPEN_FOLDERS + 40
    for number in range(sequences):
        folder = tmp_path / "D-FAUST" / f"{number:03d}" / "pcl_seq"
        folder.mkdir(parents=True)
        for frame in range(2):
            points = np.full((5, 3), number, np.float16)
            np.savez(folder / f"{frame:08d}.npz", points=points, loc=np.zeros(3), scale=1.0)
    assert pack(tmp_path) == 0
    windows.open_frames.cache_clear()
    before = psutil.Process().num_fds()
    dataset = dataset_of(tmp_path, "test", length_sequence=2)
    items = [dataset[index] for index in range(len(dataset))]
    assert len(items) == sequences
    assert psutil.Process().num_fds() - before <= windows.OPEN_FOLDERS
