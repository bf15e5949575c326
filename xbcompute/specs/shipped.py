"""Where the data that ships with the code lies: in a wheel under ``_shipped``, in a checkout beside the package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def shipped(*parts: str) -> Path:
    """The path of a shipped folder or file, for example ``shipped("protocols", "masked-sum")``."""
    inside = PACKAGE / "_shipped"
    return (inside if inside.is_dir() else PACKAGE.parent).joinpath(*parts)


def protocols() -> Path:
    """The folder of protocol cards."""
    return shipped("protocols")


def packs() -> Path:
    """The folder of policy packs."""
    return PACKAGE / "policy" / "packs"


def demo(industry: str, name: str) -> Path:
    """The study folder of a demo, for example ``demo("biomed", "gbsg2")``."""
    return shipped("examples", industry, name)
