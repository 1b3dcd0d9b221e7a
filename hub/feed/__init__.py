"""The feed inside a process: kept up with the database, followed by watchers and by the lookup index."""
