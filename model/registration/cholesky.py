"""Sparse Cholesky factorization of the normal equations of a graph, in blocks of the unknowns of two nodes.

Of the nodes of about least degree (Tinney and Walker 1967) the one that adds the fewest entries is eliminated
next, which leaves less than a tenth of the products of a banded solver. What depends on the graph only, the
order and where each product goes, is found once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints, compiled
from model.registration.products import PADDED, SIZE, subtract_product

SLACK = 3  # above the least degree, up to which a node may be the next one


class Structure(NamedTuple):
    """Blocks of the lower half of the factor, column after column, each column from its diagonal down."""

    starts: Ints  # [M + 1], the first block of each column
    rows: Ints  # [B]
    targets: (
        Ints  # [P], blocks that the products of each column's blocks are subtracted from, pair after pair
    )
    lookup: Ints  # [M, M], the block of row i and column j ≤ i, or -1


@compiled
def elimination_order(linked: NDArray[np.bool_]) -> Ints:
    """An order of nodes with a symmetric structure [M, M] in which each leaves few new entries: [M]."""
    count = len(linked)
    left = linked.copy()
    degree = np.zeros(count, np.int64)
    for i in range(count):
        left[i, i] = False
        for j in range(count):
            degree[i] += left[i, j]
    order = np.empty(count, np.int64)
    near, others = np.empty(count, np.int64), np.empty(count, np.int64)
    for number in range(count):
        least, node, fewest, found = degree.min(), -1, 0, 0
        for i in range(count):
            if degree[i] > least + SLACK:
                continue
            size, fill = 0, 0
            for j in range(count):
                if left[i, j]:
                    for k in range(size):
                        fill += not left[others[k], j]
                    others[size] = j
                    size += 1
            if node < 0 or fill < fewest:
                node, fewest, found = i, fill, size
                near[:size] = others[:size]
        order[number] = node
        for a in near[:found]:
            for b in near[:found]:
                if a != b and not left[a, b]:
                    left[a, b] = True
                    degree[a] += 1
            left[a, node] = left[node, a] = False
            degree[a] -= 1
        degree[node] = count + SLACK + 1
    return order


@compiled
def structure(linked: NDArray[np.bool_]) -> Structure:
    """The factor of matrices with entries where `linked` [M, M] is true, nodes in elimination order."""
    count = len(linked)
    filled = linked.copy()
    starts = np.zeros(count + 1, np.int64)
    lookup = np.full((count, count), -1)
    rows = np.empty(count * (count + 1) // 2, np.int64)
    blocks, products = 0, 0
    for column in range(count):
        filled[column, column] = True
        for row in range(column, count):
            if filled[row, column]:
                rows[blocks] = row
                lookup[row, column] = blocks
                blocks += 1
        starts[column + 1] = blocks
        below = rows[starts[column] + 1 : blocks]
        products += len(below) * (len(below) + 1) // 2
        for a in below:
            for b in below:
                filled[a, b] = True
    targets = np.empty(products, np.int64)
    product = 0
    for column in range(count):
        below = rows[starts[column] + 1 : starts[column + 1]]
        for a in range(len(below)):
            for b in range(a + 1):
                targets[product] = lookup[below[a], below[b]]
                product += 1
    return Structure(starts, rows[:blocks].copy(), targets, lookup)


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
