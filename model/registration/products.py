"""Small matrix products as vector instructions.

Loops over rows of eight entries are compiled to poor code: nothing tells the compiler that the arrays do not
overlap. Here a row is one vector, and LLVM does the rest on every processor.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SIZE, PADDED = 6, 8  # unknowns of a node; rows of a block are padded to whole vector registers


def _product(inner: int, operation: str) -> Any:
    """blocks[i] ±= left[j][:, :inner] @ right[k][:inner], for contiguous arrays [n, 6, 8]."""

    @intrinsic
    def add(
        _: Any, blocks: Any, _i: Any, left: Any, _j: Any, right: Any, _k: Any
    ) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = context.get_value_type(signature.args[0].dtype)
            row = ir.VectorType(number, PADDED)
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), PADDED), [0] * PADDED)
            nothing, first = ir.Constant(row, ir.Undefined), ir.Constant(ir.IntType(32), 0)

            def matrix(array: int) -> Any:
                start = context.make_array(signature.args[array])(context, builder, arguments[array]).data
                size = ir.Constant(ir.IntType(64), SIZE * PADDED)
                return builder.gep(start, [builder.mul(arguments[array + 1], size)])

            def entry(start: Any, u: int, v: int) -> Any:
                return builder.gep(start, [ir.Constant(ir.IntType(64), PADDED * u + v)])

            def vector(start: Any, u: int) -> Any:
                return builder.bitcast(entry(start, u, 0), row.as_pointer())

            goal, factors, rows = matrix(0), matrix(2), matrix(4)
            # Aligned to entries only. With `contract` a product and a sum become one instruction.
            fused = ["contract"]
            known = [builder.load(vector(rows, v), align=4) for v in range(inner)]
            for u in range(SIZE):
                total = builder.load(vector(goal, u), align=4)
                for v in range(inner):
                    one = builder.insert_element(nothing, builder.load(entry(factors, u, v)), first)
                    every = builder.shuffle_vector(one, nothing, lanes)
                    part = builder.fmul(every, known[v], flags=fused)
                    total = getattr(builder, operation)(total, part, flags=fused)
                builder.store(total, vector(goal, u), align=4)
            return context.get_dummy_value()

        return types.void(blocks, types.intp, left, types.intp, right, types.intp), generate

    return add


add_product = _product(3, "fadd")
subtract_product = _product(SIZE, "fsub")
