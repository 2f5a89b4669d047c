"""What the server keeps between requests and between starts."""
