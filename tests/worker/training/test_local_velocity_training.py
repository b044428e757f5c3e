"""Training of the displacement field: its pairs, its loss, and that it learns."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from model.networks.local_velocity import LocalVelocity
from worker.solids.particles import Pairs
from worker.training.endless import EndlessRun, Schedule
from worker.training.local_velocity import Measurement, pair_loss
from worker.training.motion_scores import by_motion, displacement_errors, nearest_point_errors
from worker.training.moving_pairs import MovingPairs, PairSettings, held_out_pairs
from worker.training.stopping import Stop

TINY = PairSettings(sizes=(64, 96), points=256, most=3, queries=32, scenes=3, renewed=1, skeletons=6)


def test_pairs_follow_from_the_seed_and_the_step() -> None:
    stream = MovingPairs(TINY, 0, "cpu")
    third = [next(stream) for _ in range(3)][-1]
    again = next(MovingPairs(TINY, 0, "cpu", first_step=2))
    other = next(MovingPairs(TINY, 1, "cpu", first_step=2))
    for field in fields(Pairs):
        assert torch.equal(getattr(third, field.name), getattr(again, field.name)), field.name
    assert other.first.shape != third.first.shape or not torch.equal(other.first, third.first)


def test_the_nearest_point_is_as_far_off_as_the_motion_says() -> None:
    pairs = held_out_pairs("solids", 200, 4, "cpu", queries=64)
    errors = nearest_point_errors(pairs)
    scores = by_motion("solids", errors, errors, pairs)
    assert scores["solids"] == pytest.approx(errors.mean().item())
    assert scores["solids_sure"] < scores["solids"]
    assert all(value >= 0 for value in scores.values())


def shifted(*shifts: float) -> Pairs:
    """Pairs of other points of one ellipsoid, moved along x by each of these."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.nn.functional.normalize(torch.randn(len(shifts), 300, 3, generator=generator), dim=2)
    first, second, queries = torch.split(clouds * torch.tensor([0.5, 0.3, 0.2]), [96, 140, 64], dim=1)
    move = torch.tensor(shifts)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    known = torch.ones(first.shape[:2], dtype=torch.bool)
    share = torch.zeros(len(shifts))
    return Pairs(first, move.expand_as(first), known, second + move, queries, move.expand_as(queries), share)


def test_a_net_learns_that_things_move_and_that_they_do_not() -> None:
    torch.manual_seed(0)
    pairs, net = shifted(0.2, 0.0), LocalVelocity()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        pair_loss(net, pairs).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    errors, _ = displacement_errors(net.eval(), pairs, 2)
    assert errors.mean(dim=1).max() < 0.05  # 0.1 where it could not tell the two apart


def test_a_run_that_was_cut_goes_on_as_it_would_have(tmp_path: Path) -> None:
    measurement = Measurement(1, "cpu", sizes=(64,), view=64)

    def run(folder: str, steps: int) -> EndlessRun[Pairs]:
        torch.manual_seed(0)
        run = EndlessRun(
            LocalVelocity(),
            lambda first: MovingPairs(TINY, 0, "cpu", first_step=first),
            pair_loss,
            measurement,
            # Which shares of a run are over, and with them the rates, must be those of the whole run.
            Schedule(steps=4, bf16=False, warmup=1),
            tmp_path / folder,
        )
        run.resume()
        if steps < 4:
            stop, learn = Stop(), run._learn

            def counting(batch: Pairs) -> torch.Tensor:
                if run.steps == steps - 1:
                    stop.signalled = "the test"
                return learn(batch)

            run._learn = counting  # type: ignore[method-assign]
            run.run(stop)
        else:
            run.run(Stop())
        return run

    whole = run("whole", 4)
    run("cut", 2)
    cut = run("cut", 4)
    assert whole.steps == cut.steps == 4
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(cut.net.state_dict()[name], value, atol=1e-6, rtol=1e-5)
    assert "bodies_64" in cut.log[-1]
    assert "solids_view" in cut.log[-1]
