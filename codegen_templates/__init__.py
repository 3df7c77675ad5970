"""Text and code that proposers fill in: simulator template, prompts, mechanism library. No engine."""
