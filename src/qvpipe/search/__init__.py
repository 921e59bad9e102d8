"""Frames found by a text or by another picture; knows torch, transformers and Chroma alone."""
