"""The limits: the least that could do the same work, written with the same tools and measured alike."""
