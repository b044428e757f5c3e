"""Sparse Cholesky factorization of the normal equations of a graph, in blocks of the unknowns of two nodes.

Nodes are eliminated in minimum-degree order (Tinney and Walker 1967), which leaves a tenth of the products
of a banded solver. What depends on the graph only, the order and where each product goes, is found once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints, compiled
from model.registration.products import PADDED, SIZE, subtract_product


class Structure(NamedTuple):
    """Blocks of the lower half of the factor, column after column, each column from its diagonal down."""

    starts: Ints  # [M + 1], the first block of each column
    rows: Ints  # [B]
    targets: (
        Ints  # [P], blocks that the products of each column's blocks are subtracted from, pair after pair
    )
    lookup: Ints  # [M, M], the block of row i and column j ≤ i, or -1


def elimination_order(linked: NDArray[np.bool_]) -> Ints:
    """An order of nodes with a symmetric structure [M, M] in which each leaves few new entries: [M]."""
    left = linked.copy()
    np.fill_diagonal(left, False)
    order = np.empty(len(left), np.int64)
    degree = left.sum(axis=1)
    for number in range(len(left)):
        node = order[number] = int(degree.argmin())
        near = np.flatnonzero(left[node])
        left[np.ix_(near, near)] = True
        left[near, near] = False
        left[node] = left[:, node] = False
        degree[near] = left[near].sum(axis=1)
        degree[node] = len(left) + 1
    return order


def structure(linked: NDArray[np.bool_]) -> Structure:
    """The factor of matrices with entries where `linked` [M, M] is true, nodes in elimination order."""
    filled = linked | np.eye(len(linked), dtype=bool)
    below: list[Ints] = []
    for column in range(len(linked)):
        rows = column + np.flatnonzero(filled[column:, column])
        filled[np.ix_(rows, rows)] = True
        below.append(rows)
    lengths = [len(rows) for rows in below]
    lookup = np.full(linked.shape, -1)
    rows = np.concatenate(below)
    lookup[rows, np.repeat(np.arange(len(linked)), lengths)] = np.arange(len(rows))
    pairs = [lookup[np.ix_(r[1:], r[1:])][np.tril_indices(len(r) - 1)] for r in below]
    return Structure(np.cumsum([0, *lengths]), rows, np.concatenate(pairs), lookup)


@compiled
def factorize(blocks: Floats, starts: Ints, targets: Ints) -> bool:
    """Replace the blocks [B, 6, 8] of a matrix by its factor; False where it is not positive definite."""
    zero = blocks[0, 0, 0] * 0
    most = 0
    for column in range(len(starts) - 1):
        most = max(most, starts[column + 1] - starts[column])
    panel = np.zeros((most, SIZE, PADDED), blocks.dtype)  # the blocks of a column, transposed
    inverse = np.zeros(SIZE, blocks.dtype)
    target = 0
    for column in range(len(starts) - 1):
        first, end = starts[column], starts[column + 1]
        corner = blocks[first]
        for u in range(SIZE):
            for v in range(u + 1):
                value = corner[u, v]
                for k in range(v):
                    value -= corner[u, k] * corner[v, k]
                if v < u:
                    corner[u, v] = value * inverse[v]
                elif value > zero:
                    corner[u, u] = np.sqrt(value)
                    inverse[u] = 1 / corner[u, u]
                else:
                    return False
        for b in range(first + 1, end):
            block, transposed = blocks[b], panel[b - first - 1]
            for v in range(SIZE):
                for u in range(SIZE):
                    value = block[u, v]
                    for k in range(v):
                        value -= block[u, k] * corner[v, k]
                    block[u, v] = value * inverse[v]
                    transposed[v, u] = block[u, v]
        for b in range(first + 1, end):
            for c in range(b - first):
                subtract_product(blocks, targets[target + c], blocks, b, panel, c)
            target += b - first
    return True


@compiled
def substitute(blocks: Floats, starts: Ints, rows: Ints, right: Floats) -> None:
    """Replace the right side [M, 6] by the solution, given the factor."""
    for column in range(len(starts) - 1):
        corner, x = blocks[starts[column]], right[column]
        for u in range(SIZE):
            for k in range(u):
                x[u] -= corner[u, k] * x[k]
            x[u] /= corner[u, u]
        for b in range(starts[column] + 1, starts[column + 1]):
            for u in range(SIZE):
                for k in range(SIZE):
                    right[rows[b], u] -= blocks[b, u, k] * x[k]
    for column in range(len(starts) - 2, -1, -1):
        corner, x = blocks[starts[column]], right[column]
        for b in range(starts[column] + 1, starts[column + 1]):
            for u in range(SIZE):
                for k in range(SIZE):
                    x[k] -= blocks[b, u, k] * right[rows[b], u]
        for u in range(SIZE - 1, -1, -1):
            for k in range(u + 1, SIZE):
                x[u] -= corner[k, u] * x[k]
            x[u] /= corner[u, u]


@compiled
def solve(blocks: Floats, of: Structure, right: Floats) -> Floats:
    """x [M, 6] of a matrix in blocks [B, 6, 8], of which the lower half counts, and a right side [M, 6].

    Single precision halves the time; where that is not enough the matrix is factorized in double. Raises
    LinAlgError where it is not positive definite.
    """
    factor: NDArray[Any] = blocks.astype(np.float32)
    if factorize(factor, of.starts, of.targets):
        x: NDArray[Any] = right.astype(np.float32)
        substitute(factor, of.starts, of.rows, x)
        return np.asarray(x, np.float64)
    exact, solution = blocks.copy(), right.copy()
    if not factorize(exact, of.starts, of.targets):
        raise np.linalg.LinAlgError("the normal equations are not positive definite")
    substitute(exact, of.starts, of.rows, solution)
    return solution
