"""What models cost: operations, time and memory, measured in one way for every method."""
