"""Run a worker for every queue but the kill switch's: ``python worker.py``.

``tradewright worker --queues …`` does the same with a choice of queues.
"""

import sys

from tradewright.cli import main

if __name__ == "__main__":
    main(["worker", *sys.argv[1:]])
