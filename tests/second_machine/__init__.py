"""A second machine, written from the pages of docs alone, and its comparison with the golden one.

:mod:`.machine` must not import anything of dither: whatever it had to look up there is missing from
docs, and belongs there.
"""
