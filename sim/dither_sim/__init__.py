"""Simulation of the gateware: Verilog emission, verilated devices, netlists and virtual boards."""
