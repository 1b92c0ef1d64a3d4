"""Compact engines: the same instructions in a fraction of the logic, for FPGAs as small as the
iCE40UP5K.
"""
