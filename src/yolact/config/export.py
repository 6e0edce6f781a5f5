"""What a model can be exported as."""

from typing import Literal

FileFormat = Literal["onnx", "openvino", "torch-export"]
FORMATS: dict[FileFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""And the suffix of its files."""

FileMasks = Literal["final", "raw"]
"""``final``: pictures in, finished masks out. ``raw``: the network alone."""
FilePrecision = Literal["float32", "int8"]
"""Of the network's weights and arithmetic."""

MAX_DROP = 0.5
"""Points of mask AP and of box AP, of 100, that int8 may cost unless something else is said."""
