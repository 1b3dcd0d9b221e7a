"""The register at work, from end to end: `python -m demo`."""
