"""Sparse Cholesky factorization of the normal equations of a graph, in blocks of the unknowns of two nodes.

Of the nodes of about least degree (Tinney and Walker 1967) the one that adds the fewest entries is eliminated
next, which leaves less than a tenth of the products of a banded solver. What depends on the graph only, the
order and where each product goes, is found once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints, compiled
from model.registration.products import PADDED, SIZE, divide, subtract_product, subtract_scaled

SLACK = 3  # above the least degree, up to which a node may be the next one


class Structure(NamedTuple):
    """Blocks of the factor, the upper half, row after row, each row from its diagonal on."""

    starts: Ints  # [M + 1], the first block of each row
    columns: Ints  # [B]
    targets: Ints  # [P], blocks that the products of each row's blocks are subtracted from, pair after pair
    lookup: Ints  # [M, M], the block of row i and column j ≥ i, or -1


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
    columns = np.empty(count * (count + 1) // 2, np.int64)
    blocks, products = 0, 0
    for row in range(count):
        filled[row, row] = True
        for column in range(row, count):
            if filled[row, column]:
                columns[blocks] = column
                lookup[row, column] = blocks
                blocks += 1
        starts[row + 1] = blocks
        beside = columns[starts[row] + 1 : blocks]
        products += len(beside) * (len(beside) + 1) // 2
        for a in beside:
            for b in beside:
                filled[a, b] = True
    targets = np.empty(products, np.int64)
    product = 0
    for row in range(count):
        beside = columns[starts[row] + 1 : starts[row + 1]]
        for a in range(len(beside)):
            for b in range(a + 1):
                targets[product] = lookup[beside[b], beside[a]]
                product += 1
    return Structure(starts, columns[:blocks].copy(), targets, lookup)


@compiled
def eliminate(blocks: NDArray[Any], starts: Ints, targets: Ints) -> bool:
    """Replace the blocks [B, 6, 8] of a matrix by U, its factor UᵀU; False where it is not positive definite.

    Column 6 of the diagonal blocks, the right side b, becomes U⁻ᵀb. On the diagonal of U stand the inverses
    of its entries.
    """
    zero = blocks[0, 0, 0] * 0
    target = 0
    for row in range(len(starts) - 1):
        first, end = starts[row], starts[row + 1]
        corner = blocks[first]
        for u in range(SIZE):
            if not corner[u, u] > zero:
                return False
            inverse = 1 / np.sqrt(corner[u, u])
            for k in range(u + 1, SIZE + 1):
                corner[u, k] *= inverse
            for v in range(u + 1, SIZE):
                for k in range(v, SIZE + 1):
                    corner[v, k] -= corner[u, v] * corner[u, k]
            corner[u, u] = inverse
        for b in range(first + 1, end):
            # Its column 6 becomes that of the corner. So the products for a diagonal block take the share of
            # the unknowns of this row from its right side; in column 6 of other blocks nothing of use stands.
            divide(blocks, b, blocks, first)
            for c in range(first + 1, b + 1):
                subtract_product(blocks, targets[target], blocks, c, blocks, b)
                target += 1
    return True


@compiled
def factorize(blocks: NDArray[Any], of: Structure, right: Floats) -> bool:
    """Replace a matrix and its right side [M, 6] by what `substitute` takes; False as `eliminate`."""
    for n in range(len(right)):
        blocks[of.starts[n], :, SIZE] = right[n]
    return eliminate(blocks, of.starts, of.targets)


@compiled
def substitute(blocks: NDArray[Any], of: Structure) -> Floats:
    """The solution [M, 6] of what `factorize` has left."""
    starts, columns = of.starts, of.columns
    count = len(starts) - 1
    x = np.zeros((count, SIZE, PADDED), blocks.dtype)  # the unknowns of each node in its first row
    sums = np.empty((1, SIZE, PADDED), blocks.dtype)
    for row in range(count - 1, -1, -1):
        sums[:] = 0
        for b in range(starts[row] + 1, starts[row + 1]):
            subtract_scaled(sums, 0, blocks, b, x, columns[b])
        corner, own = blocks[starts[row]], x[row, 0]
        for u in range(SIZE - 1, -1, -1):
            value = corner[u, SIZE]
            for k in range(SIZE):
                value += sums[0, u, k]
            for k in range(u + 1, SIZE):
                value -= corner[u, k] * own[k]
            own[u] = value * corner[u, u]
    return x[:, 0, :SIZE].astype(np.float64)


@compiled
def solve(blocks: Floats, of: Structure, right: Floats) -> Floats:
    """x [M, 6] of a matrix in blocks [B, 6, 8], of which the upper half counts, and a right side [M, 6].

    The blocks are overwritten. Raises LinAlgError where the matrix is not positive definite.
    """
    if not factorize(blocks, of, right):
        raise np.linalg.LinAlgError("the normal equations are not positive definite")
    return substitute(blocks, of)
