"""Known defect classes with their outlines, from few marked regions."""

from training.models.kind import LearnsFrom, ModelKind
from training.models.segmentation.fitting import FitSettings, SegmentationFitter, rebuild
from training.models.segmentation.network import NAME

SEGMENTATION = ModelKind(
    name=NAME,
    words="known defect classes with their outlines: learns from marked regions, so that limits can be dimensions",
    learns_from=LearnsFrom.CLASSES,
    settings=FitSettings,
    begin=SegmentationFitter,
    rebuild=rebuild,
    defects_to_fit=0.5,
)
