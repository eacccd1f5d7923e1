"""Task SLOs: objectives, error budgets, burn rates, verdicts."""
