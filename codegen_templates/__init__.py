"""Text and code that proposers fill in: template, prompts, mechanism library. No engine."""
