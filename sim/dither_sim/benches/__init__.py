"""cocotb test benches, run by :func:`dither_sim.cocotb_runner.run_bench`."""
