"""What chance draws from: jobs that are asked for, how they are edited, who does something, and how far."""

from datetime import timedelta

from hypothesis import strategies as st
from people import Wish

from playground import NOW
from steeple.domain.priority import Priority
from steeple.store.transitions import Edit

PICK = st.integers(0, 11)
"""One of however many there are."""

GO = st.sampled_from([0, 1, 2, 3, 99, 99])
"""How many steps somebody goes on at once after having begun: often few, so that others get in between."""

WISHES = st.builds(
    Wish,
    plan=st.sampled_from(["S", "S", "S", "FS", "FF", "IS", "R", "CS", "C", "CFS"]),
    priority=st.sampled_from([Priority.DEFAULT, Priority.DEFAULT, Priority.DEFAULT, Priority.HIGH, Priority.LOW]),
    delay=st.sampled_from([0.0, 0.0, 0.0, 3.0, 300.0]),
    expires_in=st.sampled_from([None, None, None, 2.0]),
    max_attempts=st.sampled_from([1, 2, 3, 4, 4]),
    key=st.sampled_from([None, None, 1, 2]),
    unique=st.sampled_from([None, None, 1]),
    after=st.sampled_from([(), (), (), (1,), (2,), (1, 2)]),
    runs_anyway=st.booleans(),
)

EDITS = st.builds(
    Edit,
    priority=st.none() | st.sampled_from(Priority),
    run_at=st.none() | st.integers(0, 20).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    max_attempts=st.none() | st.integers(1, 4),
)
