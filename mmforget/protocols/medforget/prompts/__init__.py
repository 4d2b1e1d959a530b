"""What a judge is asked about answers to MedForget's open questions."""
