"""``python -m xbcompute``: the command line."""

from xbcompute.cli import main

if __name__ == "__main__":
    main()
