"""What people are shown of results: plots, examples, comparisons, the model card."""
