"""The components whose benches are measured."""

from __future__ import annotations

from dither_hw.contract.requantiser import Requantiser
from tests.cocotb import test_broken_components, test_broken_link, test_compact, test_scalar
from tests.cocotb.faults import Suite

from .score import Target

__all__ = ["COMPONENTS"]

_UNITS, _LINK = test_broken_components.SUITES, test_broken_link.SUITES
_CONTRACT = _UNITS["contract"]
_WHOLE_LINK = Suite(test_broken_link.link, "bench_link,bench_link_storm,bench_link_long", test_broken_link.WHOLE, ())
_REQUANTISER = Suite(lambda: Requantiser(width=48, output=18), "bench_requantiser", {"width": 48, "output": 18}, ())

COMPONENTS: dict[str, Target] = {
    "UPDATE": Target(_UNITS["update"]),
    "LOSS": Target(_UNITS["loss"]),
    "generator": Target(_UNITS["generator"]),
    "PERTURB and ACCUMULATE": Target(_UNITS["parameters"], ""),
    "DITHER": Target(_UNITS["dither"]),
    "requantiser": Target(_REQUANTISER),
    "interpolator": Target(_UNITS["interpolator"]),
    "loop nest": Target(_CONTRACT, "nest.*"),
    "lanes of CONTRACT": Target(_CONTRACT, "group*", ("*.requantiser.*", "*.interpolator.*")),
    "drain": Target(_CONTRACT, "drain.*"),
    "CORRELATE": Target(_CONTRACT, "correlator.*"),
    "TRANSPOSE": Target(_UNITS["transpose"]),
    "transfer": Target(_UNITS["transfer"]),
    "sequencer": Target(_UNITS["sequencer"]),
    "host registers": Target(_UNITS["host"]),
    "memory": Target(_UNITS["memory"]),
    "bridge": Target(_UNITS["bridge"]),
    "UART receiver": Target(_LINK["receiver"]),
    "UART transmitter": Target(_LINK["transmitter"]),
    "COBS decoder": Target(_LINK["decoder"]),
    "COBS encoder": Target(_LINK["memory"]),
    "unpacker": Target(_LINK["unpacker"]),
    "unpacker of parts": Target(_LINK["unpacker_parts"]),
    "packer": Target(_LINK["packer"]),
    "intake and CRC": Target(_WHOLE_LINK, "link.intake.*"),
    "judge": Target(_WHOLE_LINK, "link.judge.*"),
    "buffers": Target(_WHOLE_LINK, "link.*_buffer.*"),
    "compact scalar unit": Target(test_scalar.SUITE),
    "compact lanes": Target(test_compact.SUITES["bench_compact_mac"]),
    "compact host": Target(test_compact.SUITES["bench_compact_host"]),
}
"""A component with its bench, by name."""
