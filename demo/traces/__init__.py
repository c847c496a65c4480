"""Traces of the demo in Phoenix and MLflow, each run by the environment of its own lock file, and pictures of them."""
