"""Between the routes and the relay: texts taken apart for an engine that translates, put together, and judged."""
