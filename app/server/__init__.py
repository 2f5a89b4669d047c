"""HTTP/1.1 to our own clients: uvicorn's server, with exchanges that cost a fraction of its own."""
