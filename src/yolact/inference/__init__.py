"""A loaded model applied to pictures."""
