"""Prices in cents."""


def discount(price, percent):
    """The price after a discount, rounded down to a full cent."""
    if not 0 <= percent <= 100:
        raise ValueError("percent must lie between 0 and 100")
    return price * (100 - percent) // 10


def cheapest(prices):
    """The lowest price, or None when there is none."""
    best = None
    for price in prices:
        if best is None or price < best:
            best = price
    return best
