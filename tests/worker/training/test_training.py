"""The training loop on a tiny network: exact resume, and the files of a run."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint
from model.config.schema import load_config
from model.errors import CheckpointError, ConfigError
from model.methods import build_model
from tests.model.published import filled
from tests.worker.training_data import Balls, tiny_config
from worker.commands.train import parse_overrides
from worker.evaluation.validation import is_better, selection, validate, worst
from worker.training.average import WeightAverage
from worker.training.pictures import picture
from worker.training.schedule import learning_rate
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

DATA = Path(__file__).parents[2] / "data"
SOURCES = (Balls(), Balls())
BATCHES = 3  # of a validation


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.net.state_dict().items()}


def trained(folder: Path, overrides: dict[str, Any] | None = None, **training: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    trainer = Trainer(tiny_config(folder, overrides, **training), sources=SOURCES)
    assert trainer.run(Stop())
    return trainer


class After(Stop):
    """Stops in the step after so many looks, of which the first validation takes one a batch."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def wanted(self) -> bool:
        self.looks -= 1
        return self.looks <= 0


AVERAGED = {"average_decay": 0.9, "weight_decay": 0.1, "betas": [0.9, 0.99]}


@pytest.mark.parametrize(
    "recipe", [{}, {"schedule": "cosine", "num_workers": 2}, AVERAGED], ids=["plain", "cosine", "averaged"]
)
def test_a_run_cut_in_two_ends_in_the_same_weights(tmp_path: Path, recipe: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"warmup_iterations": 2, "num_workers": 0} | recipe
    whole = trained(tmp_path / "whole", **settings)
    (tmp_path / "cut").mkdir()
    config = tiny_config(tmp_path / "cut", **settings)
    first = Trainer(config, sources=SOURCES)
    assert not first.run(After(BATCHES + 3))
    assert first.reached.it == 3
    torch.manual_seed(99)  # another process has other random states
    second = Trainer(config, sources=SOURCES)
    assert second.reached.it == 3
    assert second.run(Stop())
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, second.net.state_dict()[name]), name
    assert second.reached == whole.reached
    kept = [read_checkpoint(trainer.folder.last) for trainer in (second, whole)]
    for name, tensor in kept[1]["model"].items():
        assert torch.equal(tensor, kept[0]["model"][name]), name
    mine, theirs = (content["optimizer"] for content in kept)
    assert mine["param_groups"] == theirs["param_groups"]
    for key, state in theirs["state"].items():
        assert all(torch.equal(value, mine["state"][key][name]) for name, value in state.items())


def test_the_average_of_the_weights_is_kept_and_validated(tmp_path: Path) -> None:
    trainer = trained(tmp_path, average_decay=0.9)
    content = read_checkpoint(trainer.folder.last)
    last, kept = weights(trainer), content["model"]
    assert all(torch.equal(tensor, content["last_weights"][name]) for name, tensor in last.items())
    assert any(not torch.equal(tensor, last[name]) for name, tensor in kept.items())
    with trainer.learner.averaged():
        assert all(torch.equal(tensor, kept[name]) for name, tensor in trainer.net.state_dict().items())
    assert all(torch.equal(tensor, last[name]) for name, tensor in trainer.net.state_dict().items())


def test_an_average_follows_the_weights() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    values = [3.0, 5.0, 4.0]
    torch.nn.init.constant_(net.weight, 1.0)
    average, expected = WeightAverage(net, 0.2), 1.0
    for step, value in enumerate(values, 1):
        torch.nn.init.constant_(net.weight, value)
        average.update(step)
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.state["weight"].item() == pytest.approx(expected)


def test_losses_may_be_read_later(tmp_path: Path) -> None:
    """On a GPU, steps are started before the losses of those before them are known."""
    (tmp_path / "ahead").mkdir()
    whole = trained(tmp_path / "whole")
    trainer = Trainer(tiny_config(tmp_path / "ahead", print_every=0), sources=SOURCES)
    trainer.run_ahead = 3
    assert trainer.run(Stop())
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, trainer.net.state_dict()[name]), name


def test_the_time_ends_a_run(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_iterations": None, "schedule": "cosine", "validate_every": 0}
    trainer = trained(tmp_path, max_minutes=0.05, **settings)
    assert trainer.reached.it > 0
    assert 3 <= trainer.reached.seconds < 30
    again = Trainer(trainer.config, sources=SOURCES)  # time counts on
    assert again.is_done
    assert again.run(Stop())
    assert again.reached.it == trainer.reached.it


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    one, other = trained(tmp_path / "one"), trained(tmp_path / "other", seed=1)
    assert any(not torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_files_of_a_run(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    files = sorted(path.name for path in (tmp_path / "run").iterdir() if path.name != "logs")
    assert files == ["model.pt", "model_6.pt", "model_best.pt"]
    net = build_model(trainer.config)
    scalars = load_checkpoint(tmp_path / "run" / "model.pt", net)
    assert scalars["it"] == 8
    assert scalars["epoch_it"] == 8 * 4 // 6
    assert scalars["loss_val_best"] == trainer.reached.loss_val_best
    content = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert content["config"]["model"]["c_dim"] == 16
    assert content["data_recipe"]["seed"] == 0
    assert content["data_recipe"]["data"]["dataset"] == "Humans"
    assert content["code_version"][0].isdigit()
    assert set(content["optimizer"]) == {"state", "param_groups"}
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, trainer.net.state_dict()[name])


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.pt"
    save_checkpoint(file, {"model": {"a": torch.ones(3)}, "it": 1})
    written: list[int] = []

    def cut_short(content: object, target: Any) -> None:
        written.append(target.write(b"half of a checkpoint"))
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(file, {"model": {"a": torch.zeros(3)}, "it": 2})
    assert written
    assert read_checkpoint(file)["it"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_scalars_for_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path)
    log = EventAccumulator(str(tmp_path / "run" / "logs"))
    log.Reload()
    tags = set(log.Tags()["scalars"])
    assert {"train/loss", "train/recon_t0", "train/corr", "train/learning_rate", "val/iou", "val/l2"} <= tags
    assert [event.step for event in log.Scalars("train/loss")] == list(range(1, 9))
    assert [event.step for event in log.Scalars("val/iou")] == [0, 5, 8]


def test_the_published_tags_and_a_line_of_each_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """41 of them for windows of 17 frames; here 17 and all others but for the number of frames."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path, {"model": {"loss_corr": False}}, print_every=2)
    log = EventAccumulator(str(tmp_path / "run" / "logs"))
    log.Reload()
    published = {"train/loss", "val/loss", "val/kl", "val/kl_1", "val/kl_2", "val/iou", "val/rec_error"}
    published |= {f"val/{name}_t{frame}" for name in ("iou", "rec_error") for frame in range(5)}
    tags = set(log.Tags()["scalars"])
    assert published <= tags
    assert {f"val/l2_{frame}" for frame in range(1, 6)} <= tags, "where there are particles"
    assert [event.step for event in log.Scalars("train/loss")] == list(range(1, 9))
    assert [event.step for event in log.Scalars("train/recon_t0")] == [2, 4, 6, 8]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[Epoch")]
    assert [line.split(",")[0] for line in lines] == [
        f"[Epoch {4 * it // 6:02d}] it={it:03d}" for it in (2, 4, 6, 8)
    ]
    assert all("items/s" in line and "waiting for data" in line for line in lines)


def test_validation_minimizes_what_training_does(tmp_path: Path) -> None:
    """With the divergence of latent codes, times vae_beta."""
    latent = {"z_dim": 3, "encoder_latent": "pointnet", "encoder_latent_kwargs": {"hidden_dim": 8, "dim": 3}}
    config = tiny_config(tmp_path, {"model": latent | {"vae_beta": 0.5}})
    net = build_model(config)
    metrics = validate(net, SOURCES[1], config, "cpu")
    assert metrics["kl"] > 0
    assert metrics["kl"] == pytest.approx(metrics["kl_1"] + metrics["kl_2"])
    assert metrics["loss"] == pytest.approx(metrics["rec_error"] + metrics["l2"] + metrics["kl"])
    frames = [metrics[f"rec_error_t{frame}"] for frame in range(5)]
    assert metrics["rec_error"] == pytest.approx(np.mean(frames), rel=1e-5)
    assert metrics["l2"] == pytest.approx(
        np.mean([metrics[f"l2_{frame}"] for frame in range(1, 6)]), rel=1e-5
    )


def test_it_learns(tmp_path: Path) -> None:
    """Both halves: shape far above, motion far below where they start."""
    config = tiny_config(tmp_path, max_iterations=150, validate_every=0, learning_rate=0.005)
    trainer = Trainer(config, sources=SOURCES)
    before = validate(trainer.net, SOURCES[1], config, "cpu")
    assert trainer.run(Stop())
    after = validate(trainer.net, SOURCES[1], config, "cpu")
    assert after["iou"] > before["iou"] + 0.3
    assert after["l2"] < before["l2"] / 3
    pixels = picture(trainer.net, config, SOURCES[1][0], "cpu")
    assert pixels is not None
    assert pixels.shape == (640, 720, 3)
    assert trainer.net.get_parameter(
        "vector_field.fc_p.weight"
    ).requires_grad  # drawing leaves the network as it was


def test_the_shape_of_bodies_is_learned(tmp_path: Path) -> None:
    """The smoke config in a smaller form: forty steps of the shape half, too few for some seeds."""
    training = {"parts": "shape", "max_iterations": 40, "n_val_items": 6, "validate_every": 0, "seed": 1}
    training |= {"n_eval_points": 1024}
    config = load_config(
        "training/smoke",
        {
            "data": {"length_sequence": 2},
            "model": {"loss_corr": False, "encoder_temporal_kwargs": {"dim": 6}},
            "training": training | {"out_dir": str(tmp_path), "num_workers": 0},
        },
    )
    trainer = Trainer(config)
    before = validate(trainer.net, trainer.val_source, config, "cpu")
    assert trainer.run(Stop())
    after = validate(trainer.net, trainer.val_source, config, "cpu")
    assert after["iou"] > 0.1 > 3 * before["iou"]


def test_validation_of_the_smoke_run_is_a_small_part_of_it(tmp_path: Path) -> None:
    """It comes before the first step, too, and five times in all; once it took as long as 60 steps."""
    config = load_config("training/smoke", {"training": {"out_dir": str(tmp_path), "num_workers": 0}})
    trainer = Trainer(config)
    began = time.process_time()
    validate(trainer.net, trainer.val_source, config, "cpu")
    validated = time.process_time()
    batches = trainer._batches()
    for step in range(1, 5):
        trainer.learner.learn(next(batches), 1e-3, step)
    a_step = (time.process_time() - validated) / 4
    assert validated - began < 25 * a_step


@pytest.mark.parametrize("parts", ["shape", "flow"])
def test_a_half_changes_nothing_of_the_other(tmp_path: Path, parts: str) -> None:
    selection_of_flow: dict[str, Any] = {"model_selection_metric": "l2", "model_selection_mode": "minimize"}
    trainer = trained(tmp_path, parts=parts, **(selection_of_flow if parts == "flow" else {}))
    torch.manual_seed(0)
    start = build_model(trainer.config).state_dict()
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], weights(trainer)[name])}
    assert changed == {"shape": {"encoder", "decoder"}, "flow": {"encoder_temporal", "vector_field"}}[parts]


def test_validation_of_a_known_network(tmp_path: Path) -> None:
    """An untrained field moves nothing, so l2 is how far the balls go, on average over the frames."""
    config = tiny_config(tmp_path)
    net = build_model(config)
    for name in ("vector_field.fc_out.weight", "vector_field.fc_out.bias", "decoder.fc_out.weight"):
        torch.nn.init.zeros_(net.get_parameter(name))
    torch.nn.init.constant_(
        net.get_parameter("decoder.fc_out.bias"), 5.0
    )  # all inside: IoU is the share that is
    metrics = validate(net, SOURCES[1], config, "cpu")
    items = [SOURCES[1][i] for i in range(6)]
    travelled = [np.abs(item["points_mesh"] - item["points_mesh"][:1])[..., 0].mean() for item in items]
    assert metrics["l2"] == pytest.approx(np.mean(travelled), rel=1e-5)
    assert metrics["iou"] == pytest.approx(np.mean([item["points.occ"].mean() for item in items]), rel=1e-5)
    assert metrics["iou_t0"] == pytest.approx(
        np.mean([item["points.occ"][0].mean() for item in items]), rel=1e-5
    )


def test_validation_as_published() -> None:
    """The window and the numbers of the published code, on the network that both fill by one rule."""
    with np.load(DATA / "pointcloud_oflow.npz") as archive:
        window = {"inputs": archive["in_inputs"][0]}
        for name in ("points", "points.occ", "points.time", "points_mesh", "points_mesh.time"):
            window[name] = archive[f"in_eval_{name}"][0]
        wanted = json.loads(str(archive["meta"]))["eval_step"]

    class Window(Balls):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return window

    config = load_config("pointcloud/oflow", {"training": {"num_workers": 0}})
    metrics = validate(filled(config), Window(1), config, "cpu")
    for name in ("iou", "iou_t0", "rec_error_t0"):
        assert metrics[name] == pytest.approx(wanted[name], rel=1e-4), name
    for name in ("rec_error", "loss"):  # the filled field is violent: each solver is as far from the truth
        assert metrics[name] == pytest.approx(wanted[name], rel=1e-2), name


def test_validation_solves_all_frames_at_once(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, n_val_items=2)
    net = build_model(config)
    solves = []

    def counted(name: str, plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def solve(*arguments: Any) -> torch.Tensor:
            solves.append(name)
            return plain(*arguments)

        return solve

    for name in ("transform_to_t", "transform_to_t0"):
        setattr(net, name, counted(name, getattr(net, name)))
    validate(net, SOURCES[1], config, "cpu")
    assert sorted(solves) == ["transform_to_t", "transform_to_t0"]  # one batch of two windows


def test_selection(tmp_path: Path) -> None:
    largest = tiny_config(tmp_path)
    least = tiny_config(tmp_path, model_selection_metric="l2", model_selection_mode="minimize")
    assert is_better(0.0, worst(largest), largest)
    assert is_better(9.0, worst(least), least)
    assert is_better(0.6, 0.5, largest)
    assert not is_better(0.6, 0.5, least)
    assert not is_better(float("nan"), worst(largest), largest)
    with pytest.raises(ConfigError, match="model_selection_metric is l2, and validation yields iou, loss"):
        selection({"iou": 0.5, "loss": 1.0}, least)


def test_learning_rates(tmp_path: Path) -> None:
    constant = tiny_config(tmp_path).training
    assert {learning_rate(step, constant) for step in range(20)} == {0.002}
    cosine = tiny_config(tmp_path, schedule="cosine", warmup_iterations=2, max_iterations=12).training
    rates = [learning_rate(step, cosine) for step in range(13)]
    assert rates[:3] == pytest.approx([0.001, 0.002, 0.002])
    assert rates[7] == pytest.approx(0.001)
    assert rates[12] == pytest.approx(0)
    assert sorted(rates[2:], reverse=True) == rates[2:]
    timed = tiny_config(
        tmp_path, schedule="cosine", warmup_iterations=2, max_iterations=None, max_minutes=1
    ).training
    assert learning_rate(0, timed, 0) == pytest.approx(0.001)
    assert learning_rate(50, timed, 30) == pytest.approx(0.001)
    assert learning_rate(50, timed, 90) == pytest.approx(0)
    with pytest.raises(ConfigError, match=r"cosine ends at .* which are null"):
        tiny_config(tmp_path, schedule="cosine", max_iterations=None)


def test_initialize_from_copies_what_fits(tmp_path: Path) -> None:
    source = trained(tmp_path / "first")
    overrides = {
        "model": {"initialize_from": str(tmp_path / "first" / "run"), "decoder_kwargs": {"hidden_size": 8}}
    }
    (tmp_path / "second").mkdir()
    trainer = Trainer(tiny_config(tmp_path / "second", overrides), sources=SOURCES)
    note = next(note for note in trainer.notes if "copied" in note)
    assert "model_best.pt (" in note
    assert "left as they were: decoder." in note
    best = read_checkpoint(source.folder.best)["model"]
    for name, tensor in trainer.net.state_dict().items():
        fits = tensor.shape == best[name].shape
        assert fits or name.startswith("decoder."), name
        assert torch.equal(tensor, best[name]) == fits, name
    missing = {"model": {"initialize_from": "no/where"}}
    with pytest.raises(CheckpointError, match="no checkpoint no/where"):
        Trainer(tiny_config(tmp_path / "second", missing), sources=SOURCES)


def test_a_checkpoint_of_another_half_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, parts="shape")
    with pytest.raises(CheckpointError, match=r"no state that this run can go on from .*training\.parts"):
        Trainer(tiny_config(tmp_path), sources=SOURCES)


def test_changed_settings_are_told(tmp_path: Path) -> None:
    trained(tmp_path)
    again = Trainer(tiny_config(tmp_path, max_iterations=10), sources=SOURCES)
    assert again.notes == ["training.max_iterations: 8 → 10"]


def test_overrides() -> None:
    given = ["model.c_dim=64", "training.learning_rate=1e-3", "data.classes=[a, b]", "model.z_dim=null"]
    assert parse_overrides(given) == {
        "model": {"c_dim": 64, "z_dim": None},
        "training": {"learning_rate": 1e-3},
        "data": {"classes": ["a", "b"]},
    }
