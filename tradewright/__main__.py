"""``python -m tradewright``: the command, for processes that start further ones."""

from tradewright.cli import main

if __name__ == "__main__":
    main()
