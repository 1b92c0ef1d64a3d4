"""The program of compact engines' sequencer: its words, its source, and an interpreter."""
