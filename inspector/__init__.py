"""Inspector: real-time visual inspection of parts, from camera frame to PLC verdict and quality record."""

import os

__version__ = "0.1.0"

# ONNX Runtime 1.32 for Linux tells its maker of every session over the network, and writes an id of the machine into the user's
# cache, unless this is set before it is loaded. Nothing here talks to anybody who is not in the line file.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
