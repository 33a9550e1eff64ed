"""Options of a run: their models, how they are merged and checked, and how they are written. Imports no torch."""
