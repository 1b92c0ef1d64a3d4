"""A machine for the engine's programs in plain Python, written from docs/isa.md, arithmetic.md,
memories.md and registers.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import mul

from .pages import counters, forms, numbers

INNER, OUTER = ("k0", "k1", "k2"), ("o0", "o1", "o2", "o3")
ADDRESSES = 1 << 16
EXP, LOG, RSQRT = 0, 1, 2


class Fault(Exception):  # noqa: N818 -- the word of the pages:
    """What the pages call a fault."""


def signed(value: int, bits: int) -> int:
    """The lowest bits of an integer, in two's complement."""
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits)


def rnd(value: int, shift: int) -> int:
    """Right shift, rounding half-up."""
    return (value + (1 << (shift - 1))) >> shift if shift else value


def scaled(value: int, shift: int) -> int:
    """``rnd``, or a left shift where ``shift`` is negative."""
    return rnd(value, shift) if shift > 0 else value << -shift


def step(value: int, shift: int) -> int:
    """``rnd``, but one unit towards the value where that is nothing."""
    return rnd(value, shift) or sign(value)


def sign(value: int) -> int:
    """1, 0 or -1."""
    return (value > 0) - (value < 0)


def threefry(seed: int, step: int, block: int, probe: int) -> int:
    """64 random bits."""
    mask = 0xFFFFFFFF
    seed, step = seed & mask, step & mask
    keys = (seed, step, seed ^ step ^ 0x1BD11BDA)
    x0, x1 = (block + seed) & mask, (probe + step) & mask
    for number in range(20):
        x0 = (x0 + x1) & mask
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[number % 8]
        x1 = (((x1 << turn) | (x1 >> (32 - turn))) & mask) ^ x0
        if number % 4 == 3:
            i = (number + 1) // 4
            x0, x1 = (x0 + keys[i % 3]) & mask, (x1 + keys[(i + 1) % 3] + i) & mask
    return x1 << 32 | x0


class Bits:
    """Successive bits of the generator, from one block on."""

    def __init__(self, seed: int, step: int, probe: int, block: int) -> None:
        self._key = seed, step, probe
        self._block = block
        self._blocks: dict[int, int] = {}

    def take(self, position: int, count: int) -> int:
        """``count`` bits from bit ``position`` on, within one block."""
        number, place = position >> 6, position & 63
        if number not in self._blocks:
            seed, step, probe = self._key
            self._blocks[number] = threefry(seed, step, self._block + number, probe)
        return self._blocks[number] >> place & ((1 << count) - 1)


class Machine:
    """One engine.

    :param parameters: of its configuration, by the names in docs/registers.md.
    """

    def __init__(self, parameters: Mapping[str, int]) -> None:
        self.R, self.L, self.W = parameters["rows"], parameters["lanes"], parameters["width"]
        self.parts = parameters["word_parts"]
        self.compact = bool(parameters["compact"])
        self.local = bool(parameters["local_learning"])
        self.table_bits = parameters["table_bits"]
        self.forms = forms()
        self.names = {
            kind: numbers(kind) for kind in ("Memory", "Activation", "Operand", "LossKind", "LossMode", "Rule")
        }
        self.distributions = numbers("Distribution")
        words, places = parameters["parameter_depth"], 1 << self.table_bits
        weights = words if parameters["compact"] else max(words, 1024)
        self.program = [0] * parameters["program_depth"]
        self.memory: dict[str, list[list[int]]] = {
            "ACTIVATION": [[0] * self.L for _ in range(parameters["activation_depth"])],
            **{name: [[0] * self.R for _ in range(words)] for name in ("MASTER", "GRADIENT", "MOMENT1", "MOMENT2")},
            "WEIGHT": [[0] * self.R for _ in range(weights)],
            "ACTIVATION_TABLE": [[0, 0] for _ in range(parameters["activation_tables"] * places)],
            "SCALAR_TABLE": [[0, 0] for _ in range(3 * places)],
        }
        self.registers = [0] * 16
        self.kept = [0] * self.L
        self.counters: dict[str, int] = {}

    # Streams: docs/memories.md.

    @property
    def beat_width(self) -> int:
        """Bits of a beat."""
        if self.compact:
            return 16
        return max(self.L // self.parts * self.W, self.R // self.parts * 48, 36)

    def _slots(self, memory: str | None) -> tuple[int, int, int]:
        match memory:
            case None:
                return 1, 32, 32
            case "ACTIVATION":
                return self.L, self.W, self.W
            case "GRADIENT":
                return self.R, 48, 48
            case "WEIGHT":
                return self.R, self.W, 32
            case "ACTIVATION_TABLE":
                return 2, self.W, self.W
            case "SCALAR_TABLE":
                return 2, 18, 18
        return self.R, 32, 32

    def _whole(self, memory: str | None) -> bool:
        return memory in (None, "ACTIVATION_TABLE", "SCALAR_TABLE")

    def _take(self, memory: str | None) -> list[int]:
        count, bits, pitch = self._slots(memory)
        if self.compact:
            beats = -(-count * pitch // 16)
            word = sum(next(self._input) << 16 * i for i in range(beats))
        elif self._whole(memory):
            word = [next(self._input) for _ in range(self.parts)][-1]
        else:
            piece = count * pitch // self.parts
            word = sum((next(self._input) & ((1 << piece) - 1)) << piece * i for i in range(self.parts))
        values = [word >> pitch * i & ((1 << bits) - 1) for i in range(count)]
        if memory == "MOMENT2":
            return values
        result = [signed(value, bits) for value in values]
        if memory == "SCALAR_TABLE":
            result[0] = values[0]
        return result

    def _send(self, memory: str | None, values: Sequence[int]) -> None:
        count, _, pitch = self._slots(memory)
        word = sum((value & ((1 << pitch) - 1)) << pitch * i for i, value in enumerate(values))
        if self.compact:
            self._output += [word >> 16 * i & 0xFFFF for i in range(-(-count * pitch // 16))]
        elif self._whole(memory):
            beat = values[0] & ((1 << self.beat_width) - 1)  # a scalar is extended to the beat
            self._output += [beat] * self.parts
        else:
            piece = count * pitch // self.parts
            self._output += [word >> piece * i & ((1 << piece) - 1) for i in range(self.parts)]

    # Control: docs/isa.md.

    def run(self, entry: int, beats: Sequence[int]) -> list[int]:
        """Executes the program from a word on; the beats that it sends.

        :raises Fault: where an engine sets its flag.
        """
        self._input, self._output = iter(beats), []
        self.counters = dict.fromkeys(counters(), 0)
        stack: list[tuple[str, int, int]] = []
        at = entry
        while True:
            name, f, following = self._decode(at)
            at = following
            match name:
                case "HALT":
                    if next(self._input, None) is not None:
                        raise AssertionError("input is left over")
                    return self._output
                case "LOOP":
                    count = self.registers[f["register"]] + f["count"]
                    if count < 1 or len(stack) == 16:
                        raise Fault(name)
                    stack.append(("LOOP", at, count))
                case "END":
                    if not stack or stack[-1][0] != "LOOP":
                        raise Fault(name)
                    _, body, left = stack.pop()
                    if left > 1:
                        stack.append(("LOOP", body, left - 1))
                        at = body
                case "CALL":
                    if len(stack) == 16:
                        raise Fault(name)
                    stack.append(("CALL", at, 0))
                    at = f["target"]
                case "RETURN":
                    if not stack or stack[-1][0] != "CALL":
                        raise Fault(name)
                    at = stack.pop()[1]
                case _:
                    getattr(self, f"_{name.lower()}")(f)

    def _decode(self, at: int) -> tuple[str, dict[str, int], int]:
        form = self.forms.get(self.program[at] & 0xFF)
        if form is None or (form.name in ("CORRELATE", "DITHER", "TRANSPOSE") and not self.local):
            raise Fault(f"opcode at {at}")
        bits = sum(word << 32 * i for i, word in enumerate(self.program[at : at + form.words]))
        fields = {}
        for name, first, width, is_signed in form.fields:
            value = bits >> first & ((1 << width) - 1)
            fields[name] = signed(value, width) if is_signed else value
        return form.name, fields, at + form.words

    def _write(self, register: int, value: int) -> None:
        if register:
            self.registers[register] = signed(value, 32)

    def _set(self, f: dict[str, int]) -> None:
        self._write(f["target"], self.registers[f["source"]] + f["value"])

    def _add(self, f: dict[str, int]) -> None:
        self._write(f["target"], self.registers[f["left"]] + self.registers[f["right"]])

    def _subtract(self, f: dict[str, int]) -> None:
        self._write(f["target"], self.registers[f["left"]] - self.registers[f["right"]])

    def _pull(self, f: dict[str, int]) -> None:
        self._write(f["target"], self._take(None)[0])

    def _emit(self, f: dict[str, int]) -> None:
        self._send(None, [self.registers[f["source"]]])

    def _load(self, f: dict[str, int]) -> None:
        name = self.names["Memory"][f["memory"]]
        for word in range(f["base"], f["base"] + f["count"]):
            self.memory[name][word] = self._take(name)

    def _store(self, f: dict[str, int]) -> None:
        name = self.names["Memory"][f["memory"]]
        for word in range(f["base"], f["base"] + f["count"]):
            self._send(name, self.memory[name][word])

    # Work: docs/isa.md and docs/arithmetic.md.

    def _clip(self, value: int, bits: int, place: str) -> int:
        half = 1 << (bits - 1)
        if -half <= value < half:
            return value
        self.counters[f"saturations_{place}"] += 1
        return half - 1 if value > 0 else -half

    def _lookup(self, entry: Sequence[int], fraction: int, bits: int) -> int:
        value, slope = entry
        return value + ((slope * fraction + (1 << (bits - 1))) >> bits)

    def _scalar(self, table: int, argument: int) -> int:
        bits = 16 - self.table_bits
        entry = self.memory["SCALAR_TABLE"][(table << self.table_bits) + (argument >> bits)]
        return max(0, min(self._lookup(entry, argument & ((1 << bits) - 1), bits), (1 << 18) - 1))

    def _offsets(self, f: dict[str, int], letter: str) -> tuple[list[int], int]:
        """Where the inner loops lead an address, counted from the tile's first; and where it stands
        after the last term."""
        counts = [f[f"n_{loop}"] for loop in INNER]
        at, found = 0, []
        for k2 in range(counts[2]):
            if k2:
                at += f[f"{letter}_k2"]
            for k1 in range(counts[1]):
                if k1:
                    at += f[f"{letter}_k1"]
                for k0 in range(counts[0]):
                    if k0:
                        at += f[f"{letter}_k0"]
                    found.append(at)
        return found, at

    def _tiles(
        self, f: dict[str, int], letters: str, moved: Mapping[str, int]
    ) -> Iterator[tuple[bool, dict[str, int]]]:
        """Whether o0 is in its last iteration, and the address of each operand, tile by tile.

        :param moved: how far the inner loops move an operand in each tile.
        """
        counts, places = [f[f"n_{loop}"] for loop in OUTER], [0] * len(OUTER)
        at = {letter: f[f"{letter}_base"] + self.registers[f[f"{letter}_index"]] for letter in letters}
        while True:
            yield places[0] == counts[0] - 1, at
            for loop, name in enumerate(OUTER):
                places[loop] += 1
                if places[loop] < counts[loop]:
                    at = {x: at[x] + moved.get(x, 0) + f[f"{x}_{name}"] for x in letters}
                    break
                places[loop] = 0
            else:
                return

    def _contract(self, f: dict[str, int]) -> None:
        activation, operand = self.memory["ACTIVATION"], self.names["Operand"][f["operand"]]
        convert = {
            "WEIGHT": int,
            "LANE": int,
            "POSITIVE": lambda value: int(value > 0),
            "SIGN": sign,
        }[operand]
        by_row = operand == "WEIGHT"
        factors = self.memory["WEIGHT"] if by_row else activation
        (ws, w_end), (xs, x_end) = self._offsets(f, "w"), self._offsets(f, "x")
        for last, at in self._tiles(f, "wxyb", {"w": w_end, "x": x_end}):
            rows = f["last_rows"] if last else self.R
            left = list(zip(*(factors[(at["w"] + w) % ADDRESSES] for w in ws), strict=True))
            if not by_row:
                left = [tuple(map(convert, column)) for column in left]
            right = list(zip(*(activation[(at["x"] + x) % ADDRESSES] for x in xs), strict=True))
            self.counters["row_steps"] += rows * len(xs)
            bias, one = factors[at["b"] % ADDRESSES] if f["bias"] else None, activation[f["one"]]
            results = []
            for row in range(rows):
                word = []
                for lane in range(self.L):
                    place = row if by_row else lane
                    total = sum(map(mul, left[place], right[lane]))
                    if bias is not None:
                        total += bias[place] * one[lane]
                    word.append(self._activate(f, self._clip(rnd(total, f["shift"]), self.W, "requantise")))
                results.append(word)
            for row, word in enumerate(results):
                activation[(at["y"] + row * f["y_row"]) % ADDRESSES] = word

    def _activate(self, f: dict[str, int], value: int) -> int:
        match self.names["Activation"][f["activation"]]:
            case "RELU":
                return max(value, 0)
            case "TABLE":
                bits = self.W - self.table_bits
                index, fraction = divmod(value + (1 << (self.W - 1)), 1 << bits)
                entry = self.memory["ACTIVATION_TABLE"][(f["table"] << self.table_bits) + index]
                return self._clip(self._lookup(entry, fraction, bits), self.W, "requantise")
        return value

    def _correlate(self, f: dict[str, int]) -> None:
        activation, gradient = self.memory["ACTIVATION"], self.memory["GRADIENT"]
        (xs, x_end), (gs, g_end) = self._offsets(f, "x"), self._offsets(f, "g")
        for last, at in self._tiles(f, "dxg", {"x": x_end, "g": g_end}):
            rows = f["last_rows"] if last else self.R
            left = [activation[(at["d"] + row * f["d_row"]) % ADDRESSES] for row in range(rows)]
            self.counters["row_steps"] += rows * len(xs)
            for x, g in zip(xs, gs, strict=True):
                right, word = activation[(at["x"] + x) % ADDRESSES], gradient[(at["g"] + g) % ADDRESSES]
                for row in range(rows):
                    word[row] = signed(word[row] + sum(map(mul, left[row], right)), 48)

    def _loss(self, f: dict[str, int]) -> None:
        activation = self.memory["ACTIVATION"]
        entropy = self.names["LossKind"][f["kind"]] == "CROSS_ENTROPY"
        mode, count = self.names["LossMode"][f["mode"]], f["count"]
        z_words = [activation[(f["z_base"] + c * f["z_step"]) % ADDRESSES] for c in range(count)]
        t_words = [] if entropy else [activation[(f["t_base"] + c * f["t_step"]) % ADDRESSES] for c in range(count)]
        losses, errors = [0] * self.L, [[0] * self.L for _ in range(count)]
        active = [label >= 0 and not (entropy and label >= count) for label in activation[f["label"]]]
        for lane in (lane for lane in range(self.L) if active[lane]):
            z = [word[lane] for word in z_words]
            if entropy:
                loss, error = self._cross_entropy(z, activation[f["label"]][lane], f["z_frac"])
                frac = 16
            else:
                error = [value - word[lane] for value, word in zip(z, t_words, strict=True)]
                loss, frac = sum(value * value for value in error), 2 * f["z_frac"]
            loss = scaled(loss, frac - f["loss_frac"])
            if loss > (1 << 24) - 1:
                self.counters["saturations_loss"] += 1
                loss = (1 << 24) - 1
            losses[lane] = loss
            if mode == "ERROR":
                for c in range(count):
                    errors[c][lane] = self._clip(error[c], self.W, "loss")
        match mode:
            case "KEEP":
                self.kept = losses
            case "DIFFER":
                activation[f["d_base"]] = [
                    self._clip(loss - kept, self.W, "loss") if on else 0
                    for loss, kept, on in zip(losses, self.kept, active, strict=True)
                ]
            case "ERROR":
                for c in range(count):
                    activation[(f["d_base"] + c * f["d_step"]) % ADDRESSES] = errors[c]
        self._write(f["target"], sum(losses))

    def _cross_entropy(self, z: list[int], label: int, z_frac: int) -> tuple[int, list[int]]:
        distance = [max(z) - value for value in z]
        exponent = [min(scaled(value, z_frac - 12), 65535) for value in distance]
        total = sum(self._scalar(EXP, value) for value in exponent)
        e = total.bit_length() - 1
        mantissa = (total << 16 >> e) & 0xFFFF
        logarithm = self._scalar(LOG, mantissa) + (e - 17) * 45426
        exponent = [min(value + rnd(logarithm, 4), 65535) for value in exponent]
        errors = [self._scalar(EXP, value) for value in exponent]
        errors[label] -= 1 << 17
        shift = 19 - self.W
        errors = [
            error + 2 ** (shift - 1) - 1 + value % 2 >> shift for error, value in zip(errors, exponent, strict=True)
        ]
        return logarithm + (distance[label] << (16 - z_frac)), errors

    def _probe(self, f: dict[str, int]) -> Iterator[tuple[int, int, int]]:
        """Word, row and xi of a tensor's parameters."""
        pitch = -(-f["tiles"] * self.R // 8) * 8
        kind, probe = self.distributions[f["distribution"]], self.registers[f["probe"]]
        bits = Bits(self.registers[f["seed"]], self.registers[f["step"]], probe, f["block"])
        for k in range(f["inner"]):
            for t in range(f["tiles"]):
                for row in range(self.R):
                    i, xi = k * pitch + t * self.R + row, 0
                    match kind:
                        case "RADEMACHER":
                            xi = 2 * bits.take(i, 1) - 1
                        case "UNIFORM":
                            xi = 2 * bits.take(8 * i, 8) - 255
                        case "GAUSSIAN":
                            xi = bits.take(16 * i, 16).bit_count() - 8
                        case "COORDINATE":
                            xi = int(64 * f["block"] + i == probe & 0xFFFFFFFF)
                    yield f["base"] + t * f["inner"] + k, row, xi

    def _perturb(self, f: dict[str, int]) -> None:
        for word, row, xi in self._probe(f):
            moved = rnd(self.memory["MASTER"][word][row] + f["amplitude"] * xi, 32 - self.W)
            self.memory["WEIGHT"][word][row] = self._clip(moved, self.W, "weight")

    def _accumulate(self, f: dict[str, int]) -> None:
        gradient, difference = self.memory["GRADIENT"], self.registers[f["difference"]]
        for word, row, xi in self._probe(f):
            gradient[word][row] = signed(gradient[word][row] + difference * xi, 48)

    def _update(self, f: dict[str, int]) -> None:
        rate = self.registers[f["rate"]] & ((1 << 18) - 1)
        for word in range(f["base"], f["base"] + f["count"]):
            master, gradient, moment1, moment2 = (
                self.memory[name][word] for name in ("MASTER", "GRADIENT", "MOMENT1", "MOMENT2")
            )
            for row in range(self.R):
                h = self._clip(rnd(gradient[row], f["gradient_shift"]), 17, "update")
                u, moment1[row], moment2[row] = self._direction(f, h, moment1[row], moment2[row])
                master[row] = self._clip(master[row] - rnd(u * rate, f["rate_shift"]), 32, "update")
                gradient[row] = 0

    def _direction(self, f: dict[str, int], h: int, m: int, v: int) -> tuple[int, int, int]:
        match self.names["Rule"][f["rule"]]:
            case "SGD":
                return h, m, v
            case "SIGN":
                return sign(h) * 4096, m, v
            case "MOMENTUM":
                m = self._clip(m - step(m, f["decay1"]) + (h << 10), 32, "update")
            case "SIGN_MOMENTUM":
                m = self._clip(m + step((sign(h) * 4096 << 10) - m, f["decay1"]), 32, "update")
            case "ADAM":
                m = self._clip(m + step((h << 15) - m, f["decay1"]), 32, "update")
                square = (v - 2**31) << 14 if v >= 2**31 else v
                square += rnd((min(h * h, 2**32 - 2) << 13) - square, f["decay2"])
                n = max(square + (2**11 >> f["decay2"]), 1)
                e = n.bit_length() - 1
                mantissa = (n << 15 >> e) & 0x7FFF
                root = self._scalar(RSQRT, ((e + 1 & 1) << 15) + mantissa)
                v = 2**31 + rnd(square, 14) if square >= 2**31 else square
                return self._clip(rnd(m * root, 13 + (e + 1 >> 1)), 18, "update"), m, v
        return self._clip(rnd(m, 10), 18, "update"), m, v

    def _dither(self, f: dict[str, int]) -> None:
        activation, offset = self.memory["ACTIVATION"], self.registers[f["offset"]] & 0xFFFF
        bits = Bits(*(self.registers[f[name]] for name in ("seed", "step", "probe")), f["block"])
        scale = list(activation[f["scale"]])
        for i in range(f["count"]):
            word = []
            for lane, value in enumerate(activation[f["x_base"] + i * f["x_step"]]):
                if not f["gate"] or value > 0:
                    xi = 2 * bits.take(i + offset + lane, 1) - 1
                    value = self._clip(value + xi * scale[lane], self.W, "requantise")
                word.append(value)
            activation[f["y_base"] + i * f["y_step"]] = word

    def _transpose(self, f: dict[str, int]) -> None:
        weight, inner, columns, rows = self.memory["WEIGHT"], f["inner"], f["columns"], self.R
        for u in range(-(-inner // rows)):
            for m in range(columns):
                tile, row = divmod(m, rows)
                sources = range(u * rows, (u + 1) * rows)
                weight[f["target"] + u * columns + m] = [
                    weight[f["base"] + tile * inner + k][row] if k < inner else 0 for k in sources
                ]
