"""The gateware of dither: engines, their link to a host, and what makes bitstreams of them."""
