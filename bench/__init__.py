"""Benchmarks: figures of this machine, each beside the limit that was measured in the same run."""
