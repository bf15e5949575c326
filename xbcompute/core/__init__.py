"""The vocabulary every other part speaks; standard library and numpy only."""
