"""What slots say of finished jobs, as the exchange takes it."""

import json
from collections.abc import Sequence

from steeple.domain.job import Finish
from steeple.store.encoding import encode_error

LONGEST_DELAY = 3650 * 86400.0
"""Seconds; a retry later than in ten years is put off for those, which a timestamp can hold."""

LATEST_FINISH = 1.0
"""An outcome written later than this (seconds) counts as finished when it was written, less this: what reads
finished jobs in the order of their time can then rely on none appearing far behind."""

_quoted = json.encoder.encode_basestring


def finishes_text(finishes: Sequence[Finish]) -> str:
    """As a JSON list, in the order of the ids."""
    return f"[{','.join(map(_finish_text, sorted(finishes, key=lambda finish: finish.id)))}]"


def _finish_text(finish: Finish) -> str:
    """As a JSON object, without what is null. Its own JSON goes as text in it, number for number."""
    text = (
        f'{{"id":"{finish.id}","fence":{finish.fence},"state":"{finish.state.value}",'
        f'"began_ago":{finish.began_ago},"ended_ago":{min(finish.ended_ago, LATEST_FINISH)}'
    )
    if finish.result is not None:
        text += f',"result":{_quoted(finish.result)}'
    if finish.error is not None:
        text += f',"error":{_quoted(encode_error(finish.error))}'
    if finish.retry_in is not None:
        text += f',"retry_in":{min(finish.retry_in, LONGEST_DELAY)}'
    return text + "}"
