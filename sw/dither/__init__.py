"""dither: train neural networks without back-propagation, on an open FPGA, with open tools."""
