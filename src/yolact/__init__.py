"""YOLACT: real-time instance segmentation you can train, measure, understand and ship."""

__version__ = "0.1.0"
