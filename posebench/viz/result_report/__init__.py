"""HTML reports of comparisons and error analyses: one file that needs no other and no network."""
