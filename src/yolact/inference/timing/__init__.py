"""How long each part of a model takes, from the picture to finished masks, and beside what."""
