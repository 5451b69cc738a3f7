"""Goals as composable policies, the Pareto front, the choice and its reasons."""
