"""A detector as one ONNX graph for machines without Python's deep learning packages."""
