"""Frozen settings. Standard library and YAML only, so that reading them is fast."""
