"""Verilog emission, the verilated device and the cocotb benches."""
