"""Camera health: is the picture still what it was when the camera was commissioned, whatever parts pass in front of it?

    Image ──measure──▶ FrameHealth ──Window──▶ Summary ──compare with Reference──▶ Change of each kind ──alarms──▶ Event

A frame is measured from a sample of its pixels. Parts differ from frame to frame, so nothing is said of one frame: a minute's
frames are summed up by medians, cell by cell, and held against the reference that was taken at commissioning, with what varied
even then. All of it is pure; `inspector/watching.py` runs it beside a line.
"""
