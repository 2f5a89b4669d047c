"""Which models exist and how each one speaks: data."""

from app.catalog.models import Alias, Catalog, Model, Price, Quirks, Reasoning

__all__ = ["Alias", "Catalog", "Model", "Price", "Quirks", "Reasoning"]
