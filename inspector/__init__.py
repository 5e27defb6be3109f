"""Inspector: real-time visual inspection of parts, from camera frame to PLC verdict and quality record."""

__version__ = "0.1.0"
