"""Small pieces that every unit of the gateware is made of."""
