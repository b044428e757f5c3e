"""What does not belong to the moving thing goes, and nothing else."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from model.compiled import Floats
from model.registration.cleanup import clean
from model.registration.neighbors import linked_sizes, neighbors
from model.registration.planes import Plane, settled
from tests.model.registration.solids import bend, draw, solid

FRAMES = 6


def clouds(count: int = 800, noise: float = 0.001, seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    vertices, faces = solid()
    return [
        draw(bend(vertices, phase), faces, count, rng) + rng.normal(0, noise, (count, 3))
        for phase in np.linspace(0, 0.5, FRAMES)
    ]


def test_a_clean_sequence_stays_whole() -> None:
    kept, report = clean(clouds())
    assert report.to_dict() == {}
    assert all(mask.all() for mask in kept)


@pytest.mark.parametrize("distance", [0.3, 30.0, 1e6])
def test_one_wild_point_goes_alone(distance: float) -> None:
    frames = clouds()
    frames[0][5] += distance
    kept, report = clean(frames)
    assert not kept[0][5]
    assert report.total == 1
    assert report.to_dict() == {"outliers": [1, 0, 0, 0, 0, 0]}


def test_a_wild_point_that_stays_in_all_frames_goes_too() -> None:
    frames = clouds(300)
    for frame in frames:
        frame[9] = [3.0, 3.0, 3.0]
    kept, _ = clean(frames)
    assert not any(mask[9] for mask in kept)


@pytest.mark.parametrize("count", [500, 3000])
def test_uniform_outliers_go_from_noisy_frames(count: int) -> None:
    rng = np.random.default_rng(1)
    frames = clouds(count, noise=0.005)
    far = []
    for frame in frames:
        stray = rng.random(count) < 0.02
        exact = frame.copy()
        frame[stray] = rng.uniform(-0.7, 0.9, (stray.sum(), 3))
        nearest = np.linalg.norm(frame[stray][:, None] - exact[None], axis=2).min(axis=1)
        far.append(np.flatnonzero(stray)[nearest > 0.05])
    kept, report = clean(frames)
    found = np.concatenate([~mask[rows] for mask, rows in zip(kept, far, strict=True)])
    assert found.mean() > 0.97
    assert report.total < 1.15 * sum(map(len, far)) + 0.005 * FRAMES * count


def test_outliers_stay_where_cleanup_is_off_but_not_infinities() -> None:
    frames = clouds()
    frames[1][3] += 30
    frames[2][4] = np.nan
    kept, report = clean(frames, remove=False)
    assert kept[1].all()
    assert not kept[2][4]
    assert report.to_dict() == {"not_finite": [0, 0, 1, 0, 0, 0]}


def test_parts_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    cloud = np.concatenate(
        [rng.normal(place, 0.1, (count, 3)) for place, count in ((0, 200), (2, 60), (5, 9))]
    )
    near = neighbors(rng.permutation(cloud), 6)
    for link in (0.0, 0.02, 0.05, 0.1, 10.0):
        row, column = np.nonzero(near.distance < link)
        edges = coo_matrix((np.ones(len(row)), (row, near.index[row, column])), shape=(269, 269))
        part = connected_components(edges, directed=False)[1]
        np.testing.assert_array_equal(
            linked_sizes(near.index, near.distance, link), np.bincount(part)[part], str(link)
        )


def test_copies_of_a_point_say_it_once() -> None:
    frames = [np.concatenate([cloud, np.repeat(cloud[:1], 50, axis=0)]) for cloud in clouds(300)]
    kept, report = clean(frames, remove=False)
    assert all(mask[:300].all() and not mask[300:].any() for mask in kept)
    assert report.to_dict() == {"duplicates": [50] * len(frames)}


def test_a_second_object_stays() -> None:
    frames = [np.concatenate([a, b[:60] * 0.3 + 2]) for a, b in zip(clouds(), clouds(seed=1), strict=True)]
    _, report = clean(frames)
    assert report.total == 0


def test_a_floor_goes() -> None:
    rng = np.random.default_rng(2)
    frames = [
        np.concatenate([cloud, np.stack([*(rng.uniform(-1.5, 1.5, (2, 600))), np.full(600, -0.12)], 1)])
        for cloud in clouds()
    ]
    kept, report = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[800:].mean() for mask in kept]) < 0.02
    assert report.floor.min() > 580


def test_a_large_floor_goes_from_under_a_small_thing() -> None:
    """As a LiDAR sees a walker: one point in a thousand is not of the ground."""
    rng = np.random.default_rng(9)
    frames = []
    for cloud in clouds(100):
        ground = np.c_[rng.uniform(-15, 15, (100_000, 2)), rng.normal(-0.4, 0.005, 100_000)]
        frames.append(np.concatenate([cloud, ground]))
    kept, report = clean(frames)
    assert np.mean([mask[:100].mean() for mask in kept]) > 0.97
    assert report.floor.min() > 99_900


def test_furniture_goes_with_the_room_and_a_second_walker_stays() -> None:
    rng = np.random.default_rng(5)
    chair = clouds(300)[0] + [1.0, 0.4, 0.0]
    frames = []
    for step, (cloud, other) in enumerate(zip(clouds(), clouds(seed=1), strict=True)):
        floor = np.c_[rng.uniform(-2, 2, (3000, 2)), rng.normal(-0.15, 0.001, 3000)]
        seen = chair[rng.permutation(300)[:280]] + rng.normal(0, 0.001, (280, 3))
        frames.append(np.concatenate([cloud, other[:400] - [1.0, 0.05 * step, 0.0], seen, floor]))
    kept, report = clean(frames)
    assert np.mean([mask[:1200].mean() for mask in kept]) > 0.97
    assert not any(mask[1200:1480].any() for mask in kept)
    assert report.still.tolist() == [280] * FRAMES
    assert clean([frame[:1480] for frame in frames])[1].total == 0  # without a room nobody can tell
    assert clean([frames[0]] * 4)[1].still.sum() == 0  # where nothing moves, nothing stands apart


def test_furniture_goes_where_it_is_touched_too() -> None:
    rng = np.random.default_rng(14)
    chair = clouds(400)[0] + [1.0, 0.4, 0.0]
    frames = []
    for step, cloud in enumerate(clouds()):
        floor = np.c_[rng.uniform(-2, 2, (3000, 2)), rng.normal(-0.15, 0.001, 3000)]
        end = chair.min(axis=0) + 0.1 if step in (2, 5) else cloud[0] + 0.3
        tail = cloud[0] + np.linspace(0, 1, 200)[:, None] * (end - cloud[0])
        seen = chair[rng.permutation(400)[:380]] + rng.normal(0, 0.001, (380, 3))
        frames.append(np.concatenate([cloud, tail + rng.normal(0, 0.01, tail.shape), seen, floor]))
    kept, _ = clean(frames)
    assert min(mask[:800].mean() for mask in kept) > 0.97
    assert max(mask[1000:1380].mean() for mask in kept) < 0.02


def test_who_waves_on_the_spot_stays_whole_beside_furniture() -> None:
    """Nearly all of the body is where it was in the other frames."""
    rng = np.random.default_rng(6)
    body, chair = clouds(3000)[0], clouds(1000)[0] + [1.0, 0.4, 0.0]
    frames = []
    for step in range(6):
        angle = 0.25 * step
        along = np.linspace(0.05, 0.35, 100)[:, None] * [0, np.sin(angle), np.cos(angle)]
        arm = along + rng.normal(0, 0.01, along.shape)
        floor = np.c_[rng.uniform(-2, 2, (6000, 2)), rng.normal(-0.15, 0.001, 6000)]
        seen = [cloud[rng.permutation(len(cloud))[: len(cloud) // 2]] for cloud in (body, chair)]
        frames.append(np.concatenate([seen[0], arm, seen[1], floor]))
    kept, report = clean(frames)
    assert min(mask[:1500].mean() for mask in kept) > 0.97
    assert report.still.min() > 490


def test_who_moves_an_arm_for_a_while_is_no_furniture() -> None:
    rng = np.random.default_rng(17)
    body = clouds(3000)[0] + [1.0, 0.4, 0.0]
    frames = []
    for step, cloud in enumerate(clouds()):
        floor = np.c_[rng.uniform(-2, 2, (6000, 2)), rng.normal(-0.15, 0.001, 6000)]
        angle = 0.5 * step
        along = np.linspace(0.02, 0.35, 100)[:, None] * [0, np.sin(angle), np.cos(angle)]
        arm = body[0] + along + rng.normal(0, 0.01, along.shape)
        seen = body[rng.permutation(3000)[:1500]]
        walker = cloud - [0.0, 0.1 * step, 0.0]
        frames.append(np.concatenate([walker, seen, arm if step < 3 else arm[:0], floor]))
    kept, _ = clean(frames)
    assert min(mask[:2300].mean() for mask in kept) > 0.97


def test_what_a_hand_is_apart_from_is_no_furniture() -> None:
    """A body on the spot of which nothing moves but a hand, whose arm is too thin to be seen."""
    rng = np.random.default_rng(18)
    body = clouds(3000)[0]
    frames = []
    for step in range(FRAMES):
        floor = np.c_[rng.uniform(-2, 2, (6000, 2)), rng.normal(-0.15, 0.001, 6000)]
        hand = rng.normal([0.0, 0.6, 0.3 + 0.1 * step], 0.02, (60, 3))
        frames.append(np.concatenate([body[rng.permutation(3000)[:1500]], hand, floor]))
    kept, _ = clean(frames)
    assert min(mask[:1500].mean() for mask in kept) > 0.97


@pytest.mark.parametrize("noise", [0.0005, 0.01])
def test_a_floor_and_a_wall_go_together(noise: float) -> None:
    rng = np.random.default_rng(4)
    frames = []
    for cloud in clouds():
        across = rng.uniform(-1.5, 1.5, (4000, 2))
        room = np.c_[across, np.full(4000, -0.15)]  # the floor
        room[2000:] = np.c_[across[2000:, 0], np.full(2000, 1.5), across[2000:, 1] + 1.35]
        frames.append(np.concatenate([cloud, room + rng.normal(0, noise, room.shape)]))
    kept, report = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[800:].mean() for mask in kept]) < 0.01
    assert report.floor.min() > 3900


def test_walls_that_a_camera_sees_in_part_go_with_the_floor() -> None:
    rng = np.random.default_rng(8)
    frames = []
    for cloud in clouds():
        room = rng.uniform(-1.5, 1.5, (6000, 3))
        room[:2000, 2] = -0.15  # the floor
        room[2000:3500] = np.c_[[-1.5] * 1500, room[2000:3500, 1] / 2 + 0.75, room[2000:3500, 2] + 1.35]
        room[3500:5000] = room[2000:3500] * [-1, 1, 1]  # the opposite one
        room[5000:] = np.c_[room[5000:, 0], room[5000:, 1] / 4 + 1.12, [2.85] * 1000]  # a ceiling, far away
        frames.append(np.concatenate([cloud, room + rng.normal(0, 0.001, room.shape)]))
    kept, _ = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[800:].mean() for mask in kept]) < 0.01


@pytest.mark.parametrize("noise", [0.026, 0.045])
def test_a_far_wall_that_is_noisier_than_the_floor_goes_whole(noise: float) -> None:
    rng = np.random.default_rng(11)
    frames = []
    for cloud in clouds():
        floor = np.c_[rng.uniform(-1.5, 1.5, (2000, 2)), rng.normal(-0.15, 0.003, 2000)]
        wall = np.c_[rng.uniform(-1.5, 1.5, 5000), rng.normal(1.5, noise, 5000), rng.uniform(-0.15, 2, 5000)]
        frames.append(np.concatenate([cloud, floor, wall]))
    kept, _ = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[2800:].mean() for mask in kept]) < 0.005


def test_a_floor_goes_that_a_low_camera_sees_behind_the_thing_only() -> None:
    rng = np.random.default_rng(15)
    frames = []
    for cloud in clouds():
        floor = np.c_[rng.uniform(-2, 2, 4000), rng.uniform(0.5, 4, 4000), rng.normal(-0.15, 0.001, 4000)]
        frames.append(np.concatenate([cloud, floor]))
    kept, report = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert report.floor.min() > 3980


def test_a_wall_goes_from_behind_what_is_nearly_flat() -> None:
    """As the front of a body is that a camera sees down to the waist."""
    rng = np.random.default_rng(16)
    frames = []
    for sway in np.linspace(0, 0.1, FRAMES):
        x = rng.uniform(-0.3, 0.3, 1000)
        body = np.c_[x + sway, rng.uniform(-0.6, 0.1, 1000), 0.8 + 0.25 * (x / 0.3) ** 2]
        wall = np.c_[rng.uniform(-1.5, 1.5, 6000), rng.uniform(-0.8, 1, 6000), np.full(6000, 1.5)]
        frames.append(np.concatenate([body, wall]) + rng.normal(0, 0.004, (7000, 3)))
    kept, report = clean(frames)
    assert np.mean([mask[:1000].mean() for mask in kept]) > 0.97
    assert report.floor.min() > 5980


def test_what_a_noisy_camera_sees_of_a_body_is_no_wall() -> None:
    """A flank, with legs and a tail that reach less far and lie behind."""
    rng = np.random.default_rng(13)
    frames = []
    for _ in range(4):
        flank = np.c_[rng.uniform(-0.5, 0.5, 1200), rng.uniform(-0.3, 0.3, 1200), np.zeros(1200)]
        legs = np.c_[rng.uniform(-0.2, 0.2, 200), rng.uniform(-0.2, 0.2, 200), rng.uniform(0.15, 0.3, 200)]
        frames.append(np.concatenate([flank, legs]) + rng.normal(0, 0.012, (1400, 3)))
    assert clean(frames)[1].floor.sum() == 0


def test_what_crawls_on_a_floor_is_no_noise_of_it() -> None:
    """All of it is lower than the floor may be thick."""
    rng = np.random.default_rng(12)
    for upside_down in (1, -1):
        frames = []
        for cloud in clouds(200):
            low = cloud * [1, 1, 0.15] + [0, 0, 0.02 - 0.15 * cloud[:, 2].min()]
            floor = np.c_[rng.uniform(-1.5, 1.5, (4000, 2)), rng.normal(0, 0.001, 4000)]
            frames.append(np.concatenate([low, floor]) * [1, 1, upside_down])
        kept, report = clean(frames)
        assert np.mean([mask[:200].mean() for mask in kept]) > 0.97
        assert report.floor.min() > 3950


def test_a_small_thing_in_a_large_room_is_left_alone_in_every_frame() -> None:
    rng = np.random.default_rng(9)
    frames = [
        np.concatenate([cloud, np.c_[rng.uniform(-4, 4, (6000, 2)), rng.normal(-0.15, 0.001, 6000)]])
        for cloud in clouds(56)
    ]
    kept, _ = clean(frames)
    assert all(mask[:56].sum() > 50 and not mask[56:].any() for mask in kept)


def test_nothing_is_kept_of_frames_that_show_nothing_but_the_floor() -> None:
    rng = np.random.default_rng(2)
    frames = [
        np.concatenate([cloud, np.c_[rng.uniform(-1.5, 1.5, (600, 2)), np.full(600, -0.12)]])
        for cloud in clouds()
    ]
    gone = [frame[800:] if t in (2, 3) else frame for t, frame in enumerate(frames)]
    kept, report = clean(gone)
    assert [mask.any() for mask in kept] == [t not in (2, 3) for t in range(FRAMES)]
    assert report.floor.min() > 580
    assert min(mask[:800].mean() for t, mask in enumerate(kept) if t not in (2, 3)) > 0.97
    kept, report = clean(gone, remove=False)
    assert report.total == 0
    assert all(mask.all() for mask in kept)
    away = [np.concatenate([cloud[::30], frame[800:]]) for cloud, frame in zip(clouds(), frames, strict=True)]
    clean(away)  # few points in all frames may be the thing itself


def test_nothing_is_kept_of_frames_that_show_nothing_but_furniture() -> None:
    """As of a room that somebody has left for a while."""
    rng = np.random.default_rng(2)
    frames = []
    for t, cloud in enumerate(clouds()):
        floor = np.c_[rng.uniform(-3, 3, (3000, 2)), rng.normal(-0.15, 0.001, 3000)]
        wall = np.c_[rng.uniform(-3, 3, 2000), rng.normal(3, 0.001, 2000), rng.uniform(-0.15, 2, 2000)]
        chest = np.array([-1.5, 1.5, 0.3]) + rng.uniform(-0.25, 0.25, (600, 3))
        frames.append(np.concatenate([floor, wall, chest] if t in (2, 3) else [floor, wall, chest, cloud]))
    kept, report = clean(frames)
    assert [mask.any() for mask in kept] == [t not in (2, 3) for t in range(FRAMES)]
    assert min(mask[5600:].mean() for t, mask in enumerate(kept) if t not in (2, 3)) > 0.97
    assert max(mask[:5600].mean() for mask in kept) < 0.01
    assert report.still.min() > 550


def test_a_board_that_moves_along_itself_is_no_floor() -> None:
    rng = np.random.default_rng(10)
    frames = []
    for step, cloud in enumerate(clouds()):
        board = np.c_[rng.uniform(-1.5, 1.5, (2000, 2)), rng.normal(-0.15, 0.001, 2000)]
        frames.append(np.concatenate([cloud, board]) + np.array([0.15 * step, 0.0, 0.0]))
    assert clean(frames)[1].floor.sum() == 0


def test_a_floor_is_followed_where_the_camera_sways() -> None:
    rng = np.random.default_rng(6)
    floor = np.c_[rng.uniform(-1.5, 1.5, (2000, 2)), rng.normal(0, 0.002, 2000)]
    frame = np.concatenate([floor, clouds()[0] + [0, 0, 0.3]]) @ _about_x(0.02).T + [0.0, 0.0, 0.03]
    plane = Plane(np.array([0.0, 0.0, 1.0]), 0.0, 0.02)
    assert plane.holds(frame[:2000]).mean() < 0.5
    held = settled([plane], frame)[0].holds(frame)
    assert held[:2000].all()
    assert not held[2000:].any()
    assert settled([plane], frame + 9.0) == [plane]  # out of view


def test_a_wall_is_followed_where_the_camera_sways() -> None:
    rng = np.random.default_rng(12)
    frames = []
    for angle, cloud in zip(0.02 * np.sin(np.arange(FRAMES)), clouds(), strict=True):
        floor = np.c_[rng.uniform(-1.5, 1.5, (2000, 2)), rng.normal(-0.15, 0.003, 2000)]
        wall = np.c_[rng.uniform(-1.5, 1.5, 4000), rng.normal(1.5, 0.003, 4000), rng.uniform(-0.15, 2, 4000)]
        frames.append(np.concatenate([cloud, floor, wall]) @ _about_x(angle).T)
    kept, _ = clean(frames)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[800:].mean() for mask in kept]) < 0.01


def test_the_side_of_a_box_and_a_moving_board_are_no_floor() -> None:
    rng = np.random.default_rng(3)
    box = rng.uniform(-0.5, 0.5, (900, 3))
    box[np.arange(900), np.arange(900) % 3] = rng.choice([-0.5, 0.5], 900)
    board = np.concatenate(
        [rng.uniform(-1, 1, (600, 3)) * [1, 1, 0.01], rng.normal((0, 0, 0.3), 0.05, (200, 3))]
    )
    turned = [board @ _about_x(angle).T for angle in np.linspace(0, 0.8, FRAMES)]
    for frames in ([box] * FRAMES, turned):
        assert clean(frames)[1].floor.sum() == 0


def test_a_plate_that_things_stand_on_is_no_floor() -> None:
    rng = np.random.default_rng(7)
    frames = []
    for cloud in clouds():
        plate = np.c_[rng.uniform(-1.5, 1.5, (1200, 2)), rng.normal(-0.15, 0.008, 1200)]
        plate[:480, 2] -= 0.06  # its other side
        frames.append(np.concatenate([cloud, plate]))
    assert clean(frames)[1].floor.sum() == 0


def _about_x(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def test_nothing_is_kept_of_frames_with_too_few_points() -> None:
    frames = clouds(40)
    frames[3][:20] = np.inf
    kept, report = clean(frames)
    assert [mask.any() for mask in kept] == [t != 3 for t in range(FRAMES)]
    assert report.not_finite[3] == 20
    kept, report = clean([np.ones((50, 3))] * 2)
    assert not np.any(kept)
    assert report.duplicates.tolist() == [49, 49]
