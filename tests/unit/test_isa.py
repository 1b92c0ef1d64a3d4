import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.isa import (
    INSTRUCTIONS,
    OPCODE_BITS,
    Instruction,
    decode_program,
    disassemble,
    encode_program,
)
from dither.arch.pages import PAGES
from dither.arch.regmap import COUNTERS, PHASES


@st.composite
def instructions(draw):
    form = draw(st.sampled_from(INSTRUCTIONS))
    return Instruction(form.name, {f.name: draw(st.integers(f.lowest, f.highest)) for f in form.fields})


@given(st.lists(instructions(), max_size=8))
def test_programs_survive_encoding(program):
    words = encode_program(program)
    assert all(0 <= word < 2**32 for word in words)
    decoded = list(decode_program(words))
    assert [instruction for _, instruction in decoded] == program
    address = 0
    for where, instruction in decoded:
        assert where == address
        address += instruction.format.words
    assert address == len(words)


@given(instructions())
def test_fields_stand_where_the_table_says(instruction):
    bits = sum(word << (32 * i) for i, word in enumerate(instruction.encode()))
    assert bits & ((1 << OPCODE_BITS) - 1) == instruction.format.opcode
    position = OPCODE_BITS
    for field in instruction.format.fields:
        assert (bits >> position) & ((1 << field.width) - 1) == instruction[field.name] % (1 << field.width)
        position += field.width
    assert bits >> position == 0


def test_the_table_is_consistent():
    assert len({form.opcode for form in INSTRUCTIONS}) == len({form.name for form in INSTRUCTIONS}) == len(INSTRUCTIONS)
    for form in INSTRUCTIONS:
        assert form.opcode < 1 << OPCODE_BITS
        assert len({field.name for field in form.fields}) == len(form.fields)
        assert form.phase in PHASES
        assert f"cycles_{form.phase}" in [counter.name for counter in COUNTERS]
        assert set(form.sources) <= {field.name for field in form.fields}
        assert form.writes_register == ("target" in [field.name for field in form.fields if field.target])


def test_disassembly_has_a_line_for_each_instruction():
    program = [
        Instruction.make("SET", target=3, source=0, value=-7),
        Instruction.make("CALL", target=9),
        Instruction.make("HALT"),
    ]
    lines = disassemble(encode_program(program)).splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["0", "SET target=3 value=-7"],
        ["2", "CALL target=9"],
        ["3", "HALT"],
    ]


def test_the_reference_page_names_every_instruction_and_field():
    page = PAGES["isa.md"]()
    for form in INSTRUCTIONS:
        assert f"## {form.name}\n" in page
        position = OPCODE_BITS
        for field in form.fields:
            last = position + field.width - 1
            assert f"| `{field.name}` | {position}{f'–{last}' if field.width > 1 else ''} | {field.width}" in page
            position += field.width


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Instruction.make("JUMP"), "unknown instruction 'JUMP'"),
        (lambda: Instruction.make("CALL"), "CALL: missing or unknown fields: target"),
        (lambda: Instruction.make("HALT", speed=1), "HALT: missing or unknown fields: speed"),
        (lambda: Instruction.make("CALL", target=1 << 16), "CALL.target must be from 0 to 65535, not 65536"),
        (
            lambda: Instruction.make("SET", target=0, source=0, value=1 << 31),
            "SET.value must be from -2147483648 to 2147483647, not 2147483648",
        ),
        (lambda: list(decode_program([0, 255])), "unknown opcode 255 at word 1"),
        (lambda: list(decode_program([5])), "program ends within SET at word 0"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
