//! Networks from TensorFlow Lite files.
