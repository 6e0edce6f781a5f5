"""Image tensor in, Predictions out."""
