"""The sample store: a data set in a memory chip, whose samples become words of the engine's lanes."""
