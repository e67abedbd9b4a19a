//! Networks from ONNX files.
