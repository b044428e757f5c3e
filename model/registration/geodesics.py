"""Which of some places on a surface are nearest to each vertex, along its edges."""

import numpy as np

from model.compiled import Floats, Ints, compiled


@compiled
def nearest_sources(
    starts: Ints, ends: Ints, lengths: Floats, sources: Ints, count: int, limit: float
) -> tuple[Floats, Ints]:
    """Distances and numbers [V, count] of the `sources` [M] nearest to each of V vertices, nearest first.

    The edges from vertex v are those from `starts[v]` to `starts[v + 1]`: where they end [E], and how long
    they are [E]. Infinite, and number -1, where no more sources are up to `limit` away. By Dijkstra's
    algorithm from all sources at once: a vertex hands on the first `count` that reach it, for what is nearest
    to a vertex is near the vertices on the way.
    """
    vertices = len(starts) - 1
    distance = np.full((vertices, count), np.inf)
    index = np.full((vertices, count), -1)
    known = np.zeros(vertices, np.int64)
    room = len(sources) + count * len(ends)
    keys, at, of = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)  # a binary heap
    size = len(sources)
    for n in range(size):
        keys[n], at[n], of[n] = 0.0, sources[n], n
    while size > 0:
        far, v, n = keys[0], at[0], of[0]
        size -= 1
        last, hole = keys[size], 0
        while True:
            child = 2 * hole + 1
            if child + 1 < size and keys[child + 1] < keys[child]:
                child += 1
            if child >= size or keys[child] >= last:
                break
            keys[hole], at[hole], of[hole] = keys[child], at[child], of[child]
            hole = child
        keys[hole], at[hole], of[hole] = last, at[size], of[size]
        if known[v] == count or _is_among(index[v], known[v], n):
            continue
        distance[v, known[v]], index[v, known[v]] = far, n
        known[v] += 1
        for e in range(starts[v], starts[v + 1]):
            w, key = ends[e], far + lengths[e]
            if key <= limit and known[w] < count and not _is_among(index[w], known[w], n):
                hole = size
                size += 1
                while hole > 0 and keys[(hole - 1) // 2] > key:
                    parent = (hole - 1) // 2
                    keys[hole], at[hole], of[hole] = keys[parent], at[parent], of[parent]
                    hole = parent
                keys[hole], at[hole], of[hole] = key, w, n
    return distance, index


@compiled
def _is_among(numbers: Ints, count: int, number: int) -> bool:
    """Whether a number is one of the first `count`."""
    for k in range(count):  # noqa: SIM110 (compiled functions have no generators)
        if numbers[k] == number:
            return True
    return False
