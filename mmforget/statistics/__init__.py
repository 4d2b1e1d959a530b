"""How sure a number is: intervals by subject and by seed. Arithmetic on numbers; it knows no samples and no metrics."""
