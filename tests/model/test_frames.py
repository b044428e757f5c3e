"""Frames that stand for all of a sequence."""

from model.frames import even_frames


def test_few_frames_are_all_taken_and_of_many_an_even_selection() -> None:
    assert [even_frames(count, 5).tolist() for count in (1, 3, 5)] == [[0], [0, 1, 2], [0, 1, 2, 3, 4]]
    assert even_frames(101, 5).tolist() == [0, 25, 50, 75, 100]
