"""The append-only signed record: pure functions over bytes, and one file format that anyone can verify offline."""
