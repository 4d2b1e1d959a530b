"""WMDP: questions on hazardous subjects, as a measure of what a model knows of them. No hazardous text is here."""
