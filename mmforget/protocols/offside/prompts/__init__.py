"""What a judge is asked about answers to OFFSIDE's questions."""
