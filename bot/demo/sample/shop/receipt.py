"""Receipts."""


def average(amounts):
    """The mean amount in cents; 0 for an empty receipt."""
    return sum(amounts) / len(amounts)


def lines(basket):
    """One line an item, widest name first aligned."""
    width = max((len(name) for name in basket), default=0)
    return [f"{name:<{width}} {count:>3}" for name, count in basket.items()]
