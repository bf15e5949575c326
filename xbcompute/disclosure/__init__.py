"""Output checking: what may be shown of cells, sums, models and differences."""
