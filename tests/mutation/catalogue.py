"""The components whose benches are measured."""

from __future__ import annotations

from tests.cocotb import test_broken_components, test_broken_link
from tests.cocotb.faults import Suite

__all__ = ["COMPONENTS"]

COMPONENTS: dict[str, Suite] = {
    **test_broken_components.SUITES,
    **{f"link {name}": suite for name, suite in test_broken_link.SUITES.items()},
}
"""A component with its bench, by name."""
