"""The command line. ``main`` is the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from xbcompute.cli.app import app

    app()
