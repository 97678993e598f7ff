"""What the benchmarks of whole programs share."""
