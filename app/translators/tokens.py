"""estimate_tokens: about how many tokens a text is, where no model has counted them."""


def estimate_tokens(text: str) -> int:
    """Four letters of English to a token, two of Greek or Cyrillic, one of Chinese, Japanese or Korean.

    A tokenizer per model would be exact, and cost more than the rest of a request. These rates follow from the
    width of a character in UTF-8 alone: 1 byte is 1/4 token, 2 are 5/8, 3 are 1, 4 (emoji) are 11/8. The sum is
    rounded up, so that only the empty text has no token.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -((len(text) - 3 * size) // 8)
