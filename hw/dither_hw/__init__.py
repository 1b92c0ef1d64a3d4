"""The gateware of dither."""
