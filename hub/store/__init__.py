"""The register in PostgreSQL: the only room that knows SQL."""
