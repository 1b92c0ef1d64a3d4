"""The contraction unit's benches on Verilator."""

from __future__ import annotations

import pytest
from amaranth.hdl import Shape, signed, unsigned

from dither.arch.config import EngineConfig
from dither_hw.base.multiplier import Multiplier
from dither_hw.contract.contract import ContractUnit
from dither_hw.contract.requantiser import Requantiser
from dither_hw.tables.interpolator import Interpolator
from tests.benches.runner import run_bench

# What a constructor refuses is collected during any later test.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

SMALL = {"activation_depth": 128, "parameter_depth": 64, "table_bits": 6}
CONFIGURATIONS = {
    "1x8_w16": EngineConfig(rows=1, lanes=8, width=16, activation_tables=1, lanes_per_table=8, **SMALL),
    "2x16_w18": EngineConfig(rows=2, lanes=16, lanes_per_table=4, **SMALL),
    "4x4_tables": EngineConfig(rows=4, lanes=4, activation_tables=4, lanes_per_table=2, **SMALL),
    "8x2": EngineConfig(rows=8, lanes=2, width=16, lanes_per_table=1, **SMALL),
    "2x4_relu_only": EngineConfig(rows=2, lanes=4, activation_tables=0, **SMALL),
    "2x4_common_weights_only": EngineConfig(rows=2, lanes=4, lanes_per_table=2, local_learning=0, **SMALL),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    run_bench(
        ContractUnit(config), "bench_contract", name=f"contract_{name}", parameters={"config": config, "count": 150}
    )


@pytest.mark.parametrize(
    ("index_bits", "fraction_bits", "value", "slope_width", "tables"),
    [
        pytest.param(6, 10, signed(16), 16, 2, id="activation_w16"),
        pytest.param(9, 9, signed(18), 18, 1, id="activation_w18"),
        pytest.param(6, 10, unsigned(18), 18, 3, id="scalar"),
        pytest.param(3, 1, unsigned(4), 7, 1, id="tiny"),
    ],
)
def test_interpolator(index_bits: int, fraction_bits: int, value: Shape, slope_width: int, tables: int) -> None:
    dut = Interpolator(
        index_bits=index_bits, fraction_bits=fraction_bits, value=value, slope_width=slope_width, tables=tables
    )
    parameters = {
        "index_bits": index_bits,
        "fraction_bits": fraction_bits,
        "value_width": value.width,
        "tables": tables,
        "value_signed": value.signed,
        "slope_width": slope_width,
        "count": 3000,
    }
    run_bench(dut, "bench_interpolator", name="interpolator", parameters=parameters)


@pytest.mark.parametrize(("width", "output"), [(48, 18), (44, 16)])
def test_requantiser(width: int, output: int) -> None:
    parameters = {"width": width, "output": output}
    run_bench(Requantiser(width=width, output=output), "bench_requantiser", name="requantiser", parameters=parameters)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"index_bits": 0}, "index_bits must be at least 1, not 0"),
        ({"fraction_bits": 0}, "fraction_bits must be at least 1, not 0"),
        ({"tables": 0}, "tables must be at least 1, not 0"),
        ({"tables": 65}, r"65 tables of 2\*\*10 segments exceed 16 address bits"),
        ({"slope_width": 19}, "slope_width makes an operand of 19 bits, wider than 18"),
        ({"fraction_bits": 18}, "fraction_bits makes an operand of 19 bits, wider than 18"),
    ],
)
def test_interpolator_refuses(sizes: dict[str, int], message: str) -> None:
    good = {"index_bits": 10, "fraction_bits": 6, "slope_width": 18, "tables": 1}
    with pytest.raises(ValueError, match=message):
        Interpolator(value=signed(18), **(good | sizes))


def test_multiplier_refuses_wide_operands() -> None:
    with pytest.raises(ValueError, match="operand b must have from 1 to 18 bits, not 20"):
        Multiplier(a=signed(18), b=signed(20))
