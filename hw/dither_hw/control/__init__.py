"""The sequencer and the host's registers."""
