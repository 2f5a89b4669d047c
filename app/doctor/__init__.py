"""Looks at everything that has to be right before the server is of use, and says how to mend what is not."""
