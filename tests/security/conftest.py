"""Who may do what, and what may be seen of it."""

import sys
from pathlib import Path

# The server that is tested lives with the API's tests; no test module imports across folders but by this line.
sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
