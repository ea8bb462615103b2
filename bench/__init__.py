"""Measures Steeple beside its peers, on one machine and in one run. README.md says how to run it and to add to it."""
