"""Good parts only, fast: a memory bank of a reduced picture, told apart from the picture's own mean."""

from training.models.fast_bank.fitting import FastBankFitter, FitSettings, rebuild
from training.models.fast_bank.network import NAME
from training.models.kind import LearnsFrom, ModelKind

FAST_BANK = ModelKind(
    name=NAME,
    words="good parts only, fast: remembers what patches of a reduced picture look like beside the rest of it",
    learns_from=LearnsFrom.GOOD,
    settings=FitSettings,
    begin=FastBankFitter,
    rebuild=rebuild,
)
