"""Captions for variants that draw what they say: encoders of text, and how one is trained on image-text pairs."""
