"""Real model servers for `make demo SERVER=...`, each run by the environment of its own lock file."""
