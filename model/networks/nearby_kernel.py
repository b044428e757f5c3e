"""A level of `NearbyPoints` for inference on a CPU: one loop over queries instead of ten passes over arrays.

The reference is `NearbyPoints.forward`, which stores the features of every pair of query and point.
"""

import numpy as np
from numpy.typing import NDArray

from model.compiled import Ints, compiled
from model.networks.neighborhoods import FAR

Singles = NDArray[np.float32]
INPUTS = 16  # of the hidden layer: 8 linear functions of the position, 8 features of the offset


@compiled
def pool_level(
    pooled: Singles,
    queries: Singles,
    rows: Ints,
    places: Singles,
    keys: Singles,
    inner: Singles,
    outer: Singles,
    bias: Singles,
) -> None:
    """Features [Q, width] of queries [Q, 3] pooled from points at `rows` [Q, K] of one level, into `pooled`.

    places [n, 5] and keys [n, width + 24] are those of `nearby_points.Keys`; `inner` [16, width] are the
    weights of the hidden layer, `outer` [heads, width] and `bias` [heads] those of the attention.
    """
    (count, near), width, heads = rows.shape, inner.shape[1], len(outer)
    size, zero, one = width // heads, np.float32(0), np.float32(1)
    x = np.empty(INPUTS, np.float32)
    hidden = np.empty((near, width), np.float32)
    logits = np.empty((near, heads), np.float32)
    for q in range(count):
        for k in range(near):
            key, place = keys[rows[q, k]], places[rows[q, k]]
            a = (queries[q, 0] - place[0]) * place[3]
            b = (queries[q, 1] - place[1]) * place[3]
            c = (queries[q, 2] - place[2]) * place[3]
            length = np.sqrt(a * a + b * b + c * c)
            near_scale, unit = one / (one + length / np.float32(FAR)), one / max(length, np.float32(1e-6))
            x[8], x[9], x[10] = a * near_scale, b * near_scale, c * near_scale
            x[11], x[12], x[13] = a * unit, b * unit, c * unit
            x[14], x[15] = np.log(one + length), place[4]
            for d in range(8):
                x[d] = key[width + d] * x[8] + key[width + 8 + d] * x[9] + key[width + 16 + d] * x[10]
            x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
            x8, x9, x10, x11, x12, x13, x14, x15 = x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]
            row = hidden[k]
            for w in range(width):  # all terms in one pass: vectorized over the width
                total = key[w]
                total += x0 * inner[0, w] + x1 * inner[1, w] + x2 * inner[2, w] + x3 * inner[3, w]
                total += x4 * inner[4, w] + x5 * inner[5, w] + x6 * inner[6, w] + x7 * inner[7, w]
                total += x8 * inner[8, w] + x9 * inner[9, w] + x10 * inner[10, w] + x11 * inner[11, w]
                total += x12 * inner[12, w] + x13 * inner[13, w] + x14 * inner[14, w] + x15 * inner[15, w]
                row[w] = max(total, zero)
            for h in range(heads):
                logit = zero
                for w in range(width):
                    logit += row[w] * outer[h, w]
                logits[k, h] = logit + bias[h]
        for h in range(heads):
            greatest = logits[0, h]
            for k in range(near):
                greatest = max(greatest, logits[k, h])
            total = zero
            for k in range(near):
                logits[k, h] = np.exp(logits[k, h] - greatest)
                total += logits[k, h]
            out = pooled[q, h * size : (h + 1) * size]
            out[:] = zero
            for k in range(near):
                weight = logits[k, h] / total
                for w in range(size):
                    out[w] += weight * hidden[k, h * size + w]
