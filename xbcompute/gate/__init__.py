"""The border: the only way in or out of a node, over mutual TLS 1.3, counted frame by frame."""
