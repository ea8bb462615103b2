"""How many jobs a slot claims at once: few when they are slow, many when they are quick."""

FIRST_CLAIM = 1
QUICK_BATCH_SECONDS = 0.05
"""A batch that takes less than this lets the next one double."""


def next_claim_size(size: int, took: float, largest: int) -> int:
    """The size of the next claim after a full one of ``size`` jobs that took ``took`` seconds.

    Doubles while batches are quick. A slow batch shrinks the next to what would have fitted, at least by half.
    """
    if took < QUICK_BATCH_SECONDS:
        return min(size * 2, largest)
    return max(1, min(size // 2, int(size * QUICK_BATCH_SECONDS / took)))
