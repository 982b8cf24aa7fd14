"""What a comparison or an analysis says, in sentences made from its numbers."""
