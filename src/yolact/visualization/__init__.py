"""Drawing. Plain arrays in, pictures out."""
