"""The microprogram of compact engines' scalar unit: its source, assembler, interpreter, and cycle
counts.
"""
