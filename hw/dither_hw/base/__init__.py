"""Small pieces that every unit is made of."""
