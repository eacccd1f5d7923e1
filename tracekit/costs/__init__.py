"""What a step cost: price book, tiers, and the reasons why a price is missing."""
