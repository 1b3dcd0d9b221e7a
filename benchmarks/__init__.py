"""Benchmarks: `python -m benchmarks.NAME [--quick]`. Progress goes to stderr; the last line of stdout is JSON."""
