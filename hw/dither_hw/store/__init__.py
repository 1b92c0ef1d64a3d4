"""The sample store: a data set in a memory chip, whose samples become words for an engine."""
