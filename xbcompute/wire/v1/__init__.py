"""Generated from protocols/wire by tools/generate_wire.py; not edited."""
