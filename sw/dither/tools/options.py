"""What a board's file may ask of the tools that it names: known programs, known options, plain
values.

Files of boards come from other people. Their options end in scripts and command lines, so only
those are let through that cannot name a file, let alone write one, or run anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["OPTIONS", "refusal"]

_OPTIONS = {
    "synthesis": (
        "-abc2 -abc9 -noabc9 -asyncprld -dff -dffe_min_ce_use -dsp -iopad -latches -no-rw-check -noabc -nobram "
        "-noalu -nocarry -noccu2 -nodffe -nodsp -noflatten -nolutram -nowidelut -retime -spram"
    ),
    "place": (
        "--allow-fabric-eclk --cstrweight --detailed-timing-report --disable-router-lutperm --ignore-loops "
        "--ignore-rel-clk --lpf-allow-unconstrained --no-promote-ce --no-promote-globals --no-tmdriv --opt-timing "
        "--pcf-allow-unconstrained --placer --placer-heap-alpha --placer-heap-beta "
        "--placer-heap-cell-placement-timeout --placer-heap-critexp --placer-heap-no-ctrl-set "
        "--placer-heap-timingweight --promote-logic --router --router2-alt-weights --router2-tmg-ripup --starttemp "
        "--threads --timing-allow-fail --tmg-ripup"
    ),
    "pack": (
        "--background --bootaddr --compress --done_as_gpio --freq --idcode --mspi_as_gpio --ready_as_gpio "
        "--spimode --sspi_as_gpio --usercode -n -s -v"
    ),
    "openFPGALoader": (
        "-b --board -c --cable -f --write-flash -m --write-sram -o --offset -r --reset -v --verbose --freq "
        "--ftdi-channel --ftdi-serial --fpga-part --index-chain --pid --vid --verify --unprotect-flash"
    ),
    "iceprog": ("-S -b -d -e -I -n -o -p -s -v -X -k"),
    "icesprog": ("-w -o -v"),
    "dfu-util": ("-D --download -R --reset -S --serial -a --alt -d --device -e -i -p -s -w -v"),
}
OPTIONS = {user: frozenset(names.split()) for user, names in _OPTIONS.items()}
"""By what a board's file gives them to: a step of the build, or a programmer."""
_VALUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:+-]*")


def refusal(user: str, arguments: Sequence[str]) -> str | None:
    """What is wrong with arguments for a step of the build or a programmer; None if nothing is.

    :param user: a key of :data:`OPTIONS`.
    """
    for argument in arguments:
        if not argument.startswith("-"):
            if not _VALUE.fullmatch(argument):
                return f"{argument!r} is no plain value (letters, digits and _.,:+- in one word)"
            continue
        name, equals, value = argument.partition("=")
        if name not in OPTIONS[user]:
            return f"{name!r} is none of the options that a board's file may give: {' '.join(sorted(OPTIONS[user]))}"
        if equals and not _VALUE.fullmatch(value):
            return f"{argument!r} gives no plain value (letters, digits and _.,:+- in one word)"
    return None
