"""Good parts only, remembered: the PatchCore family."""

from training.models.kind import LearnsFrom, ModelKind
from training.models.memory_bank.fitting import FitSettings, MemoryBankFitter, rebuild
from training.models.memory_bank.network import NAME

MEMORY_BANK = ModelKind(
    name=NAME,
    words="good parts only: remembers what their patches look like",
    learns_from=LearnsFrom.GOOD,
    settings=FitSettings,
    begin=MemoryBankFitter,
    rebuild=rebuild,
    input_pixels=320 * 320,
)
