"""What to try, in which order, and what not to: screen → first rungs → proxy → protection."""
