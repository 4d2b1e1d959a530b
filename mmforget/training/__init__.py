"""Training on rows: stage one (memorise) and unlearning, on one Hugging Face Trainer that resumes after a kill."""
