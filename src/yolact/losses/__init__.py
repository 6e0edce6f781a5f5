"""Predictions and targets in, scalars out."""
