"""Pictures in and out: the only code that knows Pillow, and the guarded fetch of what a caller names."""
