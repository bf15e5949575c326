"""Measures xbcompute beside its peers, in the same run on the same machine: ``python -m benchmarks``."""
