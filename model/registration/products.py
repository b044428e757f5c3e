"""Small matrix products as vector instructions.

Loops over rows of eight entries are compiled to poor code: nothing tells the compiler that the arrays do not
overlap. Here a row is one vector, and LLVM does the rest on every processor.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SIZE, PADDED = 6, 8  # unknowns of a node; rows of a block are padded to whole vector registers
FUSED = ["contract"]  # a product and a sum become one instruction


class Rows:
    """Code for rows of arrays [n, 6, 8] that a function gets."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._context, self._builder = context, builder
        self._signature, self._arguments = signature, arguments
        self._number = context.get_value_type(signature.args[0].dtype)
        self._row = ir.VectorType(self._number, PADDED)

    def block(self, array: int) -> Any:
        """Where the block starts that the argument after the array is the number of."""
        kind, value = self._signature.args[array], self._arguments[array]
        start = self._context.make_array(kind)(self._context, self._builder, value).data
        size = ir.Constant(ir.IntType(64), SIZE * PADDED)
        return self._builder.gep(start, [self._builder.mul(self._arguments[array + 1], size)])

    def entry(self, block: Any, u: int, v: int) -> Any:
        return self._builder.load(self._at(block, u, v))

    def everywhere(self, number: Any) -> Any:
        """A row of one number."""
        nothing, first = ir.Constant(self._row, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = self._builder.insert_element(nothing, number, first)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), PADDED), [0] * PADDED)
        return self._builder.shuffle_vector(one, nothing, lanes)

    def load(self, block: Any, u: int) -> Any:
        return self._builder.load(self._vector(block, u), align=4)  # aligned to entries only

    def store(self, row: Any, block: Any, u: int) -> None:
        self._builder.store(row, self._vector(block, u), align=4)

    def add(self, operation: str, total: Any, block: Any, u: int, others: Sequence[Any]) -> Any:
        """A row, plus or minus `others`, rows v times entries (v, u) of a block."""
        for v, other in enumerate(others):
            part = self._builder.fmul(self.everywhere(self.entry(block, v, u)), other, flags=FUSED)
            total = getattr(self._builder, operation)(total, part, flags=FUSED)
        return total

    def _at(self, block: Any, u: int, v: int) -> Any:
        return self._builder.gep(block, [ir.Constant(ir.IntType(64), PADDED * u + v)])

    def _vector(self, block: Any, u: int) -> Any:
        return self._builder.bitcast(self._at(block, u, 0), self._row.as_pointer())


def _product(inner: int, operation: str) -> Any:
    """blocks[i] ±= left[j][:inner].T @ right[k][:inner], for contiguous arrays [n, 6, 8]."""

    @intrinsic
    def add(
        _: Any, blocks: Any, _i: Any, left: Any, _j: Any, right: Any, _k: Any
    ) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows = Rows(context, builder, signature, arguments)
            goal, factors, known = rows.block(0), rows.block(2), rows.block(4)
            others = [rows.load(known, v) for v in range(inner)]
            for u in range(SIZE):
                rows.store(rows.add(operation, rows.load(goal, u), factors, u, others), goal, u)
            return context.get_dummy_value()

        return types.void(blocks, types.intp, left, types.intp, right, types.intp), generate

    return add


add_product = _product(3, "fadd")
subtract_product = _product(SIZE, "fsub")


@intrinsic
def _divide(_: Any, blocks: Any, _i: Any, corners: Any, _j: Any) -> tuple[Any, Callable[..., Any]]:
    """blocks[i] = U^-T blocks[i] but for its column `SIZE`, which becomes that of the block of U, corners[j].

    On the diagonal of U, an upper triangle, stand the inverses of its entries.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = Rows(context, builder, signature, arguments)
        block, corner = rows.block(0), rows.block(2)
        lane = ir.Constant(ir.IntType(32), SIZE)
        found: list[Any] = []
        for u in range(SIZE):
            total = rows.add("fsub", rows.load(block, u), corner, u, found)
            total = builder.fmul(total, rows.everywhere(rows.entry(corner, u, u)))
            found.append(total)
            rows.store(builder.insert_element(total, rows.entry(corner, u, SIZE), lane), block, u)
        return context.get_dummy_value()

    return types.void(blocks, types.intp, corners, types.intp), generate


@intrinsic
def _subtract_scaled(
    _: Any, sums: Any, _i: Any, blocks: Any, _j: Any, scales: Any, _k: Any
) -> tuple[Any, Callable[..., Any]]:
    """sums[i] -= blocks[j] * scales[k][0], rows by the same row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = Rows(context, builder, signature, arguments)
        goal, block = rows.block(0), rows.block(2)
        scale = rows.load(rows.block(4), 0)
        for u in range(SIZE):
            part = builder.fmul(rows.load(block, u), scale, flags=FUSED)
            rows.store(builder.fsub(rows.load(goal, u), part, flags=FUSED), goal, u)
        return context.get_dummy_value()

    return types.void(sums, types.intp, blocks, types.intp, scales, types.intp), generate


divide: Any = _divide
subtract_scaled: Any = _subtract_scaled
