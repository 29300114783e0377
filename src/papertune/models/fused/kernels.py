"""The passes themselves, over float32 or bfloat16, which is the first half of a float32's bits and comes as uint16.

All that is compiled is in this module: numba compiles a kernel anew when its own module has changed, but not when
others have.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from papertune.models.fused.compiling import exact, instructions, kernel
from papertune.models.quantization.int8 import MAX_ACTIVATION, MIN_SCALE, ZERO_POINT

Array = np.ndarray[Any, Any]

_FLOAT, _INT, _SHORT, _BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(8)
_LOG2_E = np.float32(1.4426950408889634)
_SMALLEST, _STEPS = np.float32(MIN_SCALE), np.float32(MAX_ACTIVATION)
_ONE = np.float32(1)
# Adding it leaves the nearest integer in the last bits, plus the 127 of a float32's exponent.
_TO_EXPONENT = 1.5 * 2**23 + 127
# With these a float32's bits are 0 and infinity.
_MIN_POWER, _MAX_POWER = -127.0, 128.0
# 2^x for -0.5 to 0.5, by least squares: relative errors up to 1.1e-4 and 1.0e-7.
_SHORT_POWER = (0.0545928247, 0.242217838, 0.693368601, 1.0)
_LONG_POWER = (0.00132186725, 0.00967169794, 0.0555089295, 0.24022238, 0.693146856, 1.0)


def _constant(value: float) -> Any:
    return ir.Constant(_FLOAT, float(np.float32(value)))


@instructions
def number(_: Any, stored: Any) -> Any:
    """Return a stored number as float32."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0] == types.float32:
            return args[0]
        return builder.bitcast(builder.shl(builder.zext(args[0], _INT), _INT(16)), _FLOAT)

    return types.float32(stored), write


@instructions
def rounded(_: Any, value: Any, stored: Any) -> Any:
    """Round a float32 to what can be stored like the second argument; halves go away from zero."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[1] == types.float32:
            return args[0]
        bits = builder.add(builder.bitcast(args[0], _INT), _INT(1 << 15))
        return builder.bitcast(builder.and_(bits, _INT(-(1 << 16))), _FLOAT)

    return types.float32(types.float32, stored), write


@instructions
def kept(_: Any, value: Any, stored: Any) -> Any:
    """Return a rounded number as it is stored."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[1] == types.float32:
            return args[0]
        return builder.trunc(builder.lshr(builder.bitcast(args[0], _INT), _INT(16)), _SHORT)

    return stored(types.float32, stored), write


@instructions
def order(_: Any, stored: Any) -> Any:
    """Return an integer that is larger for a larger number; NaN is outside of all."""
    width = 32 if stored == types.float32 else 16
    kind = ir.IntType(width)

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = args[0] if width == 16 else builder.bitcast(args[0], kind)
        sign = builder.ashr(bits, kind(width - 1))
        return builder.xor(bits, builder.and_(sign, kind((1 << (width - 1)) - 1)))

    return (types.int32 if width == 32 else types.int16)(stored), write


@instructions
def least(_: Any, stored: Any) -> Any:
    """Return the least value of `order`."""
    width = 32 if stored == types.float32 else 16

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.IntType(width)(-(1 << (width - 1)))

    return (types.int32 if width == 32 else types.int16)(stored), write


@instructions
def in_order(_: Any, place: Any) -> Any:
    """Return the number of a value of `order`, as float32."""
    width = 32 if place == types.int32 else 16
    kind = ir.IntType(width)

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        sign = builder.ashr(args[0], kind(width - 1))
        bits = builder.xor(args[0], builder.and_(sign, kind((1 << (width - 1)) - 1)))
        if width == 16:
            bits = builder.shl(builder.zext(bits, _INT), _INT(16))
        return builder.bitcast(bits, _FLOAT)

    return types.float32(place), write


@instructions
def larger(_: Any, one: Any, other: Any) -> Any:
    """Return the larger of two integers of one kind."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed(">", args[0], args[1]), args[0], args[1])

    return one(one, one), write


@instructions
def size(_: Any, value: Any) -> Any:
    """Return the value of `order` for the absolute value."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(builder.bitcast(args[0], _INT), _INT((1 << 31) - 1))

    return types.int32(types.float32), write


@instructions
def integer(_: Any, value: Any) -> Any:
    """Round to an integer, halves to the even one, and add the zero point."""

    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        nearest = builder.call(builder.module.declare_intrinsic("llvm.rint", [_FLOAT]), args)
        return builder.trunc(builder.add(builder.fptosi(nearest, _INT), _INT(ZERO_POINT)), _BYTE)

    return types.uint8(types.float32), write


@instructions
def _power(_: Any, exponent: Any, stored: Any) -> Any:
    def write(_: Any, builder: Any, signature: Any, args: Any) -> Any:
        coefficients = _LONG_POWER if signature.args[1] == types.float32 else _SHORT_POWER
        low, high = _constant(_MIN_POWER), _constant(_MAX_POWER)
        exponent = builder.select(builder.fcmp_ordered(">", args[0], low), args[0], low)
        exponent = builder.select(builder.fcmp_ordered("<", exponent, high), exponent, high)
        shifted = builder.fadd(exponent, _constant(_TO_EXPONENT))
        rest = builder.fsub(exponent, builder.fsub(shifted, _constant(_TO_EXPONENT)))
        result = _constant(coefficients[0])
        for coefficient in coefficients[1:]:
            result = builder.fadd(builder.fmul(result, rest), _constant(coefficient))
        whole = builder.bitcast(builder.shl(builder.bitcast(shifted, _INT), _INT(23)), _FLOAT)
        return builder.fmul(result, whole)

    return types.float32(types.float32, stored), write


@exact
def power(exponent: Any, stored: Any) -> Any:
    """Return 2^exponent, exactly enough to be stored like the second argument; less than 2^-126.5 is 0."""
    return _power(exponent, stored)


@kernel
def norm(states: Array, weight: Array, epsilon: Any, out: Array) -> None:
    """Write the RMS norm of tokens.

    Args:
        states: Shape (tokens, hidden).
        weight: Float32, shape (hidden,).
        epsilon: Float32; added to the mean square.
        out: As `states`.
    """
    width = states.shape[1]
    for token in range(states.shape[0]):
        row, written = states[token], out[token]
        squares = np.float32(0)
        for i in range(width):
            squares += number(row[i]) * number(row[i])
        factor = _ONE / np.sqrt(squares / np.float32(width) + epsilon)
        for i in range(width):
            written[i] = kept(rounded(number(row[i]) * factor * weight[i], row[i]), row[i])


@kernel
def norm_to_integers(states: Array, weight: Array, epsilon: Any, out: Array, scales: Array) -> None:
    """Write the RMS norm of tokens as integers.

    Args:
        states: Float32, shape (tokens, hidden).
        weight: Float32, shape (hidden,).
        epsilon: Float32; added to the mean square.
        out: uint8, shape (tokens, hidden).
        scales: What the integers are multiplied by, float32, shape (tokens,).
    """
    width = states.shape[1]
    values = np.empty(width, np.float32)
    for token in range(states.shape[0]):
        row, written = states[token], out[token]
        squares, largest = np.float32(0), np.int32(0)
        for i in range(width):
            value = row[i]
            squares += value * value
            values[i] = value * weight[i]
            largest = larger(size(values[i]), largest)
        top = max(in_order(largest), _SMALLEST)
        factor = _STEPS / top
        for i in range(width):
            written[i] = integer(values[i] * factor)
        scales[token] = top / _STEPS / np.sqrt(squares / np.float32(width) + epsilon)


@kernel
def gate_to_integers(gate: Array, up: Array, factors: Array, out: Array, scales: Array) -> None:
    """Write silu(r g) r u as integers, where r are the factors of tokens.

    Args:
        gate: Products g, float32, shape (tokens, features).
        up: Products u, as `gate`.
        factors: Float32, shape (tokens,).
        out: uint8, shape (tokens, features).
        scales: What the integers are multiplied by, float32, shape (tokens,).
    """
    width = gate.shape[1]
    values = np.empty(width, np.float32)
    for token in range(gate.shape[0]):
        one, other, written = gate[token], up[token], out[token]
        exponent = -factors[token] * _LOG2_E
        largest = np.int32(0)
        for i in range(width):
            values[i] = one[i] * other[i] / (_ONE + power(one[i] * exponent, one[i]))
            largest = larger(size(values[i]), largest)
        top = max(in_order(largest), _SMALLEST)
        factor = _STEPS / top
        for i in range(width):
            written[i] = integer(values[i] * factor)
        scales[token] = top / _STEPS * factors[token] * factors[token]


@kernel
def split_heads(
    made: Array, factors: Array, cos: Array, sin: Array, queries: Array, keys: Array, values: Array
) -> None:
    """Write rotated queries and keys, and values, each head's numbers together.

    Args:
        made: First halves of all queries and keys, second halves, values, shape (batch, seq, features).
        factors: What they are multiplied by, float32, shape (batch, seq).
        cos: Of the tokens' angles, float32, shape (batch or 1, seq, head_dim / 2).
        sin: As `cos`.
        queries: Written to, shape (batch, groups, seq, heads of a group, head_dim).
        keys: Written to, shape (batch, groups, seq, head_dim).
        values: As `keys`.
    """
    batch, groups, seq, group_size, head_dim = queries.shape
    half = head_dim // 2
    rotated = groups * (group_size + 1) * half
    for row in range(batch):
        turn = row if cos.shape[0] > 1 else 0
        for token in range(seq):
            read, factor = made[row, token], factors[row, token]
            c, s = cos[turn, token], sin[turn, token]
            for head in range(groups * (group_size + 1)):
                first, second = read[head * half : (head + 1) * half], read[rotated + head * half :]
                if head < groups * group_size:
                    written = queries[row, head // group_size, token, head % group_size]
                else:
                    written = keys[row, head - groups * group_size, token]
                behind = written[half:]
                for i in range(half):
                    x, y = number(first[i]) * factor, number(second[i]) * factor
                    written[i] = kept(rounded(x * c[i] - y * s[i], written[i]), written[i])
                    behind[i] = kept(rounded(y * c[i] + x * s[i], written[i]), written[i])
            for group in range(groups):
                first, written = read[2 * rotated + group * head_dim :], values[row, group, token]
                for i in range(head_dim):
                    written[i] = kept(rounded(number(first[i]) * factor, written[i]), written[i])


@kernel
def softmax_powers(scores: Array, group_size: int, own: int, sums: Array) -> None:
    """Overwrite scores with e^(score - largest score of the query), 0 where a key is hidden, and write their sums.

    Args:
        scores: Shape (batch x groups, queries x heads of a group, keys).
        group_size: Heads of a group.
        own: How many of the last keys belong to the queries themselves and are hidden from those before; 0: none.
        sums: Float32, shape (batch x groups, queries x heads of a group, or more).
    """
    for one in range(scores.shape[0]):
        for place in range(scores.shape[1]):
            row = scores[one, place]
            seen = len(row) - max(0, own - 1 - place // group_size)
            largest = least(row[0])
            for i in range(seen):
                largest = larger(order(row[i]), largest)
            top = in_order(largest) * _LOG2_E
            total = np.float32(0)
            for i in range(seen):
                value = rounded(power(number(row[i]) * _LOG2_E - top, row[i]), row[i])
                total += value
                row[i] = kept(value, row[i])
            row[seen:] = 0
            sums[one, place] = total


@kernel
def divide(block: Array, sums: Array, start: int, out: Array) -> None:
    """Divide what queries have seen by their sums of powers, and bring it into the order of tokens.

    Args:
        block: Shape (batch x groups, queries x heads of a group, value_dim).
        sums: Float32, shape (batch x groups, queries x heads of a group, or more).
        start: Token of the first query.
        out: Written to, shape (batch, seq, groups, heads of a group, value_dim).
    """
    batch, _, groups, group_size, width = out.shape
    for row in range(batch):
        for place in range(block.shape[1]):
            for group in range(groups):
                read = block[row * groups + group, place]
                written = out[row, start + place // group_size, group, place % group_size]
                factor = _ONE / sums[row * groups + group, place]
                for i in range(width):
                    written[i] = kept(rounded(number(read[i]) * factor, read[i]), read[i])


@kernel
def divide_to_integers(block: Array, sums: Array, start: int, out: Array, scales: Array) -> None:
    """As `divide`, as integers with one scale for each token.

    Args:
        block: As in `divide`.
        sums: As in `divide`.
        start: As in `divide`.
        out: uint8, shape (batch, seq, groups, heads of a group, value_dim).
        scales: What the integers are multiplied by, float32, shape (batch, seq).
    """
    batch, _, groups, group_size, width = out.shape
    values = np.empty((groups, group_size, width), np.float32)
    for row in range(batch):
        for query in range(block.shape[1] // group_size):
            largest = np.int32(0)
            for group in range(groups):
                for head in range(group_size):
                    read, kept_values = block[row * groups + group, query * group_size + head], values[group, head]
                    factor = _ONE / sums[row * groups + group, query * group_size + head]
                    for i in range(width):
                        kept_values[i] = number(read[i]) * factor
                        largest = larger(size(kept_values[i]), largest)
            top = max(in_order(largest), _SMALLEST)
            scale = _STEPS / top
            for group in range(groups):
                for head in range(group_size):
                    written, kept_values = out[row, start + query, group, head], values[group, head]
                    for i in range(width):
                        written[i] = integer(kept_values[i] * scale)
            scales[row, start + query] = top / _STEPS
