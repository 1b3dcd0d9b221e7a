"""The register's rules: entities, transitions and policy, without input or output."""
