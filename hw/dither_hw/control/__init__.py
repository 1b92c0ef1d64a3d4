"""The control of an engine: the sequencer and the registers for its host."""
