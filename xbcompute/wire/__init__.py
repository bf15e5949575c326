"""What travels: messages, frames and states as bytes, and back, by the definitions in protocols/wire."""
