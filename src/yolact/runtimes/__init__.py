"""What runs a network: torch, ONNX Runtime, OpenVINO, TensorRT, behind one small interface."""
