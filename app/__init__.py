"""Flarelay: the OpenAI API, answered by Cloudflare Workers AI."""

__version__ = "0.1.0"
