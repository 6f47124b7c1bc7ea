import pytest
from shop.stock import Stock


def test_take_leaves_the_rest():
    stock = Stock()
    stock.add("apple", 5)
    assert stock.take("apple", 2) == 3


def test_take_the_last_one():
    stock = Stock()
    stock.add("pear", 1)
    assert stock.take("pear", 1) == 0


def test_take_too_many():
    stock = Stock()
    stock.add("plum", 1)
    with pytest.raises(ValueError):
        stock.take("plum", 2)


def test_low():
    stock = Stock()
    stock.add("fig", 1)
    stock.add("date", 10)
    assert stock.low(5) == ["fig"]
