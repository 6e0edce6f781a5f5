"""The only folder that imports Lightning."""
