"""Files to types: frozen models of every file people write, with errors that name file, key and nearest key."""
