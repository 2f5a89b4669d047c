"""What languages are called, which scripts they are written in, and which one a text is in."""
