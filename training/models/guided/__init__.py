"""Good parts and whatever defects are labelled: a memory bank, guided by every labelled reject."""

from training.models.guided.fitting import FitSettings, GuidedFitter, rebuild
from training.models.guided.network import NAME
from training.models.kind import LearnsFrom, ModelKind

GUIDED = ModelKind(
    name=NAME,
    words="good parts and labelled defects: starts from good parts alone and gets better with every labelled reject",
    learns_from=LearnsFrom.BOTH,
    settings=FitSettings,
    begin=GuidedFitter,
    rebuild=rebuild,
    input_pixels=320 * 320,
    defects_to_fit=0.6,
)
