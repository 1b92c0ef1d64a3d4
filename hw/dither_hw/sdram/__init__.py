"""A memory chip at the FPGA's pins: a controller for SDRAM, and the pins themselves."""
