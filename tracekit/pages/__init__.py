"""Something to look at: charts and pages of HTML that need no script and nothing from elsewhere."""
