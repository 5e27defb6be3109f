"""From the bytes of a frame to the model's input: decode, check, locate, normalise; and lossless keeping of frames.

Frame ──decode──▶ Image ──check_exposure──▶ ──locate──▶ Box ──check_sharpness──▶ ──normalise──▶ uint8 (h, w, c)
  └──archive──▶ file bytes ──unarchive──▶ the same Frame, pixel for pixel
"""
