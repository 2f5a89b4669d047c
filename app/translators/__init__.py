"""OpenAI requests -> Workers AI calls, replies -> OpenAI responses: pure functions and values, no I/O."""
