"""The command `nsor-hub`, by groups."""
