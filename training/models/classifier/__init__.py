"""Known defect classes: a classifier with a heat map and a guard against parts unlike anything in training."""

from training.models.classifier.fitting import ClassifierFitter, rebuild
from training.models.classifier.network import NAME
from training.models.classifier.settings import ClassifierSettings
from training.models.kind import LearnsFrom, ModelKind

CLASSIFIER = ModelKind(
    name=NAME,
    words="known defect classes: tells which one, and when it is none of them",
    learns_from=LearnsFrom.CLASSES,
    settings=ClassifierSettings,
    begin=ClassifierFitter,
    rebuild=rebuild,
    defects_to_fit=0.7,
    by_steps=True,
)
