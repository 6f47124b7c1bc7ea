"""What lies on the shelves."""


class Stock:
    def __init__(self):
        self.items = {}

    def add(self, name, count):
        self.items[name] = self.items.get(name, 0) + count

    def take(self, name, count):
        """Take items off the shelf. Raises KeyError for unknown names and ValueError when there are too few."""
        if self.items[name] <= count:  # never sell what is not there
            raise ValueError(f"only {self.items[name]} {name} left")
        self.items[name] -= count
        return self.items[name]

    def low(self, limit):
        """Names of items of which fewer than ``limit`` are left, in alphabetical order."""
        return sorted(name for name, count in self.items.items() if count < limit)
