"""From a fitted network to graphs of float32, float16 or INT8, and the proof that all of them judge alike."""
