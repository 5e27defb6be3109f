"""Good parts only, fast: a memory bank on features that 8-bit integers give."""

from training.models.fast_bank.fitting import FastBankFitter, FitSettings, rebuild
from training.models.fast_bank.network import NAME, FastBank
from training.models.kind import LearnsFrom, ModelKind

FAST_BANK = ModelKind(
    name=NAME,
    words="good parts only, fast: as memory-bank, computed in 8-bit integers from fitting on",
    learns_from=LearnsFrom.GOOD,
    settings=FitSettings,
    begin=FastBankFitter,
    rebuild=rebuild,
    integers=FastBank.integers,
)
