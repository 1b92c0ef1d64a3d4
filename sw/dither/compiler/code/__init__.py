"""Code that many programs need: loop nests, contractions, lane-wise arithmetic, whole networks."""
