"""Progress in proportion to the work, and the end of work that nobody waits for."""

import pytest

from model.errors import Canceled
from model.registration.options import Options
from model.registration.reporting import Report
from model.registration.tracking import _spans


def test_parts_and_items_share_the_way() -> None:
    told: list[float] = []
    report = Report(told.append, None)
    assert list(map(report.each(str.upper, 0.0, 0.4, 4), "abcd")) == list("ABCD")
    first, second = report.parts(0.4, 1.0, 2)
    first(0.5)
    second(1.0)
    first(0.0)  # asks only
    first(1.0)
    assert told == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.55, 0.85, 0.85, 1.0])


def test_items_end_where_the_work_is_canceled() -> None:
    answers = iter((False, False, True))
    items = map(Report(None, lambda: next(answers)).each(abs, 0.0, 1.0, 4), [1, 2, 3, 4])
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(Canceled):
        next(items)


@pytest.mark.parametrize(("tried", "kept"), [(2, 1), (4, 4)])
@pytest.mark.parametrize(("frames", "stride"), [(17, 1), (60, 3), (1000, 62)])
def test_spans_add_up(frames: int, stride: int, tried: int, kept: int) -> None:
    spans = _spans(frames, stride, tried, kept, Options())
    assert spans == sorted(spans)
    assert spans[0] > 0
    assert spans[-1] == 1.0
    assert (spans[3] > spans[2]) == (stride > 1)
