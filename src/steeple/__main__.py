"""``python -m steeple`` is ``steeple``."""

from steeple.cli import main

if __name__ == "__main__":
    main()
