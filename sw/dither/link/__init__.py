"""The serial link between a host and a board: protocol, codecs and driver."""
