"""cocotb test benches, run by :func:`tests.benches.runner.run_bench`."""
