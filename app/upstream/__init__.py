"""The only code that speaks to Cloudflare."""
