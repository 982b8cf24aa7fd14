"""How many resamples of the images are drawn unless told otherwise, and their seed."""

DRAWS = 2000  # of a comparison or an analysis
RESAMPLES = 1000  # of the interval beside an evaluation, and of the tests of an ablation
SEED = 0
