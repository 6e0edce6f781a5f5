"""Detections in, COCO numbers out."""
