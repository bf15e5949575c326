"""A site: one party's node process, its worker, its data sources and its store."""
