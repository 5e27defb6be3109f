"""The demo: a whole line on simulated parts or on a folder of images. `inspector demo` calls `run_demo`."""

from inspector.sim.demo.options import DemoOptions
from inspector.sim.demo.run import run_demo

__all__ = ["DemoOptions", "run_demo"]
