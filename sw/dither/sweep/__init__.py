"""Sweeps: many trials of designs and recipes, the best compromises among them, and a page of all.

``plan`` (the file) → ``search`` (which trials) → ``trial`` (what each is, and costs) → ``course``
(training them on workers) → ``analysis`` and ``page`` (what came out).
"""
