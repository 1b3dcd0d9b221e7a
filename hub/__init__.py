"""The integration hub of the National Sex Offenders Register."""
