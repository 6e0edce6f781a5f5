"""What runs a network, and in which numbers."""

from typing import Literal

RuntimeName = Literal["reference", "torch", "onnxruntime", "openvino", "tensorrt"]
RuntimeChoice = RuntimeName | Literal["auto"]
"""``auto`` is torch, or what an exported file is for."""
Precision = Literal["float32", "bf16", "fp16", "int8"]
"""Of the network's arithmetic. What goes in and what comes out is float32 all the same."""
PrecisionChoice = Precision | Literal["auto"]
"""``auto`` is float32, or what an exported file was quantised to."""
