"""A network as a file for another runtime, with or without its pre- and post-processing."""
