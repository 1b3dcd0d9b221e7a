"""The trace of accesses."""
