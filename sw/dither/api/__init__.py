"""What programs of one's own begin with: training in five lines, and the run that comes of it."""
