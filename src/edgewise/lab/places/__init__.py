"""Places: where an artifact is executed to see what it answers there; one Python command each."""
