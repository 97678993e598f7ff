"""Whole programs, measured: what rates.py is made of."""
