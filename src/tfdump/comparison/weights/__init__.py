"""What a comparison of two dumps of weights tells beyond the verdicts."""
