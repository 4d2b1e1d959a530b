"""Language models as lm_eval sees them: image and text requests in one call, answered once and remembered."""
