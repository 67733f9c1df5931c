"""Small settings the tests of the models room share."""

# A coarse grid keeps the recurrent nets and the point transformer fast: 351 points.
COARSE = {"step": 0.2}
SMALL_FORMER = {"widths": [8, 8, 16], "attention_heads": 2, "pooled_channels": 2, "hidden_size": 16}
