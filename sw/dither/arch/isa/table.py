"""The table of all instructions: names, opcodes, fields and descriptions."""

from __future__ import annotations

from .formats import Field, InstructionFormat
from .vocabulary import LOOPS, OUTER_LOOPS

__all__ = ["INSTRUCTIONS", "LOCAL_INSTRUCTIONS"]


def _address(name: str, doc: str) -> Field:
    return Field(name, 16, doc)


def _step(name: str, doc: str) -> Field:
    return Field(name, 16, doc, signed=True)


def _source(name: str, doc: str) -> Field:
    return Field(name, 4, f"register read: {doc}", source=True)


def _target() -> Field:
    return Field("target", 4, "register written", target=True)


_MATRIX = (
    _address("base", "first word of the tensor"),
    Field("inner", 16, "K, input positions of the tensor: word (t, k) stands at base + t*K + k"),
    Field("tiles", 16, "T = ceil(M / R), row tiles of the tensor"),
)
_BITS = (
    Field("block", 20, "first generator block (of 64 bits)"),
    _source("seed", "seed of the run, the generator's first key word"),
    _source("step", "step number, the generator's second key word"),
    _source("probe", "number of the probe within the step"),
)
_PROBE = (*_BITS, Field("distribution", 3, "see Distribution"))


def _index(kind: str, what: str) -> Field:
    return _source(f"{kind}_index", f"added to `{kind}_base`, {what}")


INSTRUCTIONS: tuple[InstructionFormat, ...] = (
    InstructionFormat("HALT", 0, "control", (), "Ends the program; the engine becomes idle."),
    InstructionFormat(
        "LOOP",
        1,
        "control",
        (_source("register", "added to `count`"), Field("count", 16, "iterations, with the register's; at least 1")),
        "Repeats the instructions up to the matching END, `register + count` times.",
    ),
    InstructionFormat("END", 2, "control", (), "Ends the body of the innermost LOOP."),
    InstructionFormat("CALL", 3, "control", (_address("target", "word address"),), "Calls a subroutine."),
    InstructionFormat("RETURN", 4, "control", (), "Returns behind the matching CALL."),
    InstructionFormat(
        "SET",
        5,
        "control",
        (_target(), _source("source", "operand"), Field("value", 32, "constant", signed=True)),
        "`target = source + value`, modulo 2**32.",
    ),
    InstructionFormat(
        "ADD",
        6,
        "control",
        (_target(), _source("left", "first operand"), _source("right", "second operand")),
        "`target = left + right`, modulo 2**32.",
    ),
    InstructionFormat(
        "SUBTRACT",
        7,
        "control",
        (_target(), _source("left", "first operand"), _source("right", "second operand")),
        "`target = left - right`, modulo 2**32.",
    ),
    InstructionFormat(
        "PULL",
        8,
        "load",
        (_target(),),
        "Takes a scalar of 32 bits from the input stream.",
    ),
    InstructionFormat(
        "EMIT",
        9,
        "store",
        (_source("source", "operand"),),
        "Sends the register over the output stream, a scalar, sign-extended.",
    ),
    InstructionFormat(
        "LOAD",
        10,
        "load",
        (Field("memory", 3, "see Memory"), _address("base", "first word"), Field("count", 16, "words, at least 1")),
        "Copies `count` words of the input stream into a memory.",
    ),
    InstructionFormat(
        "STORE",
        11,
        "store",
        (Field("memory", 3, "see Memory"), _address("base", "first word"), Field("count", 16, "words, at least 1")),
        "Copies `count` words of a memory to the output stream.",
    ),
    InstructionFormat(
        "CONTRACT",
        12,
        "contract",
        (
            *(Field(f"n_{loop}", 16, f"iterations of loop {loop}, at least 1") for loop in LOOPS),
            _address("w_base", "first weight word"),
            *(_step(f"w_{loop}", f"added to the weight address when loop {loop} advances") for loop in LOOPS),
            _address("x_base", "first input word"),
            *(_step(f"x_{loop}", f"added to the input address when loop {loop} advances") for loop in LOOPS),
            _address("y_base", "first output word"),
            *(_step(f"y_{loop}", f"added to the output address when loop {loop} advances") for loop in OUTER_LOOPS),
            _step("y_row", "added to the output address from row to row of one tile"),
            Field("last_rows", 4, "rows that count in the last iteration of o0, 1 to R"),
            Field("bias", 1, "1: every tile starts with one extra term, bias word times constant word"),
            _address("b_base", "first bias word, in the weight memory"),
            *(_step(f"b_{loop}", f"added to the bias address when loop {loop} advances") for loop in OUTER_LOOPS),
            _address("one", "activation word of the constant that the bias is multiplied by"),
            Field("idle", 8, "empty cycles at the end of every tile, so that it lasts as long as its drain"),
            Field("shift", 6, "right shift of requantisation, 0 to 47"),
            Field("activation", 2, "see Activation"),
            Field("table", 2, "activation table"),
            Field(
                "operand",
                2,
                "see Operand; other than WEIGHT, `w` and `b` are activation words, and `b` is taken as it is",
            ),
            _index("w", "modulo 2**16"),
            _index("x", "modulo 2**16"),
            _index("y", "modulo 2**16"),
            _index("b", "modulo 2**16"),
        ),
        "A loop nest of multiply-accumulates. For every iteration of the outer loops (one *tile*): "
        "`acc[r][l] = bias + sum over k of weight[w][r] * activation[x][l]`, for all R rows and L lanes; "
        "then row r is requantised, `sat_W((acc + 2**(shift-1)) >> shift)`, passed through the activation and "
        "written to `y + r*y_row`. A step is added when its loop advances and every loop inside it has just wrapped; "
        "a loop's address does not return by itself: steps include the way back. All addresses are modulo 2**16. "
        "A tile must last at least as long as its drain: "
        "`(n_k0*n_k1*n_k2 + bias) * c + idle >= rows * drain cycles per row`, c = 1 and rows = R. With lane-wise "
        "operands a term takes two cycles, all rows would be the same, and so n_o0 and last_rows must be 1: c = 2, "
        "rows = 1. "
        "Outputs must not be inputs of the same instruction.",
    ),
    InstructionFormat(
        "LOSS",
        13,
        "loss",
        (
            Field("kind", 1, "see LossKind"),
            _address("z_base", "first output word of the network"),
            _step("z_step", "from output to output"),
            Field("count", 16, "C, outputs of the network, at least 1"),
            _address("label", "word of labels: a negative label masks its lane; the class for CROSS_ENTROPY"),
            _address("t_base", "first target word (SQUARED_ERROR)"),
            _step("t_step", "from target to target"),
            Field("z_frac", 5, "fraction bits of outputs and targets, 0 to 16"),
            Field("loss_frac", 5, "fraction bits of a sample's loss, 0 to 16"),
            Field("mode", 2, "see LossMode"),
            _address("d_base", "word of differences (DIFFER), or first word of derivatives (ERROR)"),
            _step("d_step", "from derivative to derivative (ERROR)"),
            _target(),
        ),
        "Sums the losses of the lanes whose label is not negative into a register. Each lane's loss is rounded to "
        "`loss_frac` bits and clipped to 24 bits by itself, so the sum does not depend on the tiling of samples. "
        "CROSS_ENTROPY: `ln(sum exp(z_c - max z)) + max z - z_label`, through the scalar tables. "
        "SQUARED_ERROR: `sum (z_c - t_c)**2`. KEEP keeps every lane's loss within the unit until the next KEEP. DIFFER "
        "writes `sat_W(loss - kept loss)`, 0 in masked lanes. ERROR writes C words, 0 in masked lanes: for "
        "CROSS_ENTROPY softmax minus one for the label's class, with W-2 fraction bits; for SQUARED_ERROR `sat_W(z_c - "
        "t_c)`. Words "
        "written must not be read by the same instruction.",
    ),
    InstructionFormat(
        "PERTURB",
        14,
        "perturb",
        (
            *_MATRIX,
            *_PROBE,
            Field(
                "amplitude", 32, "probe step in units of a master parameter, negative for the other side", signed=True
            ),
        ),
        "Writes the working weights of one tensor: `sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))`, with xi "
        "of the distribution. Parameter i of the tensor uses bits `n*i` to `n*i + n-1` of the generator from `block` "
        "on, n = 1, 8 or 16, the lowest first; COORDINATE compares `64*block + i` with the probe's number.",
    ),
    InstructionFormat(
        "ACCUMULATE",
        15,
        "accumulate",
        (*_MATRIX, *_PROBE, _source("difference", "loss difference, signed")),
        "Adds `difference * xi` to the gradient accumulators of one tensor, with the xi of PERTURB, modulo 2**48 "
        "(the compiler proves that no sum overflows).",
    ),
    InstructionFormat(
        "UPDATE",
        16,
        "update",
        (
            _address("base", "first word of the tensor"),
            Field("count", 16, "words, at least 1"),
            Field("rule", 3, "see Rule"),
            Field("gradient_shift", 6, "right shift that brings a gradient to 17 bits, 0 to 47"),
            Field("decay1", 4, "beta1 = 1 - 2**-decay1"),
            Field("decay2", 4, "beta2 = 1 - 2**-decay2"),
            _source("rate", "learning rate mantissa, lowest 18 bits, unsigned"),
            Field("rate_shift", 5, "right shift of rate times direction"),
        ),
        "One optimiser step for every parameter of the words, from its gradient accumulator, which it clears.",
    ),
    InstructionFormat(
        "CORRELATE",
        17,
        "correlate",
        (
            *(Field(f"n_{loop}", 16, f"iterations of loop {loop}, at least 1") for loop in LOOPS),
            _address("d_base", "first word of the left operand"),
            *(_step(f"d_{loop}", f"added to the left address when loop {loop} advances") for loop in OUTER_LOOPS),
            _step("d_row", "added to the left address from row to row of one tile"),
            _address("x_base", "first word of the right operand"),
            *(_step(f"x_{loop}", f"added to the right address when loop {loop} advances") for loop in LOOPS),
            _address("g_base", "first gradient word"),
            *(_step(f"g_{loop}", f"added to the gradient address when loop {loop} advances") for loop in LOOPS),
            Field("last_rows", 4, "rows that count in the last iteration of o0, 1 to R"),
            Field("idle", 8, "empty cycles at the end of every tile"),
            _index("d", "modulo 2**16"),
            _index("x", "modulo 2**16"),
            _index("g", "modulo 2**16"),
        ),
        "Sums of products over all lanes, added to gradient accumulators: the gradient of a contraction, from the "
        "derivatives by its outputs (left) and its inputs (right). For every iteration of the outer loops (one *tile*) "
        "R left words are taken, `left[r] = activation[d + r*d_row]` (zero for rows that do not count); then, for "
        "every iteration of the inner loops, `gradient[g][r] += sum over l of left[r][l] * activation[x][l]`, modulo "
        "2**48, "
        "for all R rows. Loops and steps are CONTRACT's. No gradient word may be reached again within "
        "`CORRELATE_DISTANCE` cycles (`dither.arch.timing`); a tile lasts `R + n_k0*n_k1*n_k2 + idle`.",
    ),
    InstructionFormat(
        "DITHER",
        18,
        "dither",
        (
            Field("count", 16, "words, at least 1"),
            _address("x_base", "first input word"),
            _step("x_step", "from input to input"),
            _address("y_base", "first output word"),
            _step("y_step", "from output to output"),
            _address("scale", "word of a factor for each lane"),
            Field("gate", 1, "1: inputs that are not greater than zero stay as they are"),
            *_BITS,
            _source("offset", "number of the first lane's sample within its tile (lowest 16 bits)"),
        ),
        "Adds a random sign times a factor to every number of some activation words: "
        "`y[i][l] = sat_W(x[i][l] + xi * scale[l])`, xi = +1 where bit `i + offset + l` of the generator from `block` "
        "on is 1, else -1. Neighbouring samples have the same signs, one place shifted (a Toeplitz matrix of signs), "
        "so that a word needs one new bit, not one for each lane. Outputs may be inputs of the same instruction if "
        "`y` and `x` are the same words.",
    ),
    InstructionFormat(
        "TRANSPOSE",
        19,
        "transpose",
        (
            _address("base", "first word of the source"),
            Field("inner", 16, "K, input positions of the source, at least 1"),
            Field("columns", 16, "M, outputs of the source, at least 1"),
            _address("target", "first word of the result"),
        ),
        "Copies a matrix of working weights with inputs and outputs exchanged: the result has M input positions and K "
        "outputs. Source word (t, k) stands at `base + t*K + k`, result word (u, m) at `target + u*M + m`; its row r "
        "is the weight of source input `u*R + r` and output m, or 0 where there is no such input.",
    ),
)
"""All instructions, in the order of their opcodes."""

LOCAL_INSTRUCTIONS = ("CORRELATE", "DITHER", "TRANSPOSE")
"""Names of the instructions that an engine without ``local_learning`` lacks."""
