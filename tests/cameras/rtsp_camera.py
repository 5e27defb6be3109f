"""A network camera: a process of gst-rtsp-server (Debian: gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good)."""

from __future__ import annotations

import subprocess
import sys
import threading

from inspector.sim.demo.processes import free_ports

_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, width, height = sys.argv[1:]
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(
    f"( videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate=25/1"
    " ! jpegenc ! rtpjpegpay name=pay0 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/camera", factory)
assert server.attach(None)
for need in ("videotestsrc", "jpegenc", "rtpjpegpay"):
    assert Gst.ElementFactory.find(need), need
print("ready", flush=True)
GLib.MainLoop().run()
"""


def missing_for_rtsp() -> str:
    """Why there can be no server here, empty if there can."""
    check = 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "an RTSP server: run deploy/install-test-tools.sh"


class RtspCamera:
    """Streams a test picture at `address` until `stop`."""

    def __init__(self, width: int, height: int) -> None:
        (self._port,) = free_ports(1)
        self._size = (str(width), str(height))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"rtsp://127.0.0.1:{self._port}/camera"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", _SERVER, str(self._port), *self._size]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        """Without a word, as when its power fails."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
