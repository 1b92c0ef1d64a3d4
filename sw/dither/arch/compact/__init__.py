"""What is particular to compact engines: their programs, and the cycles that those take."""
