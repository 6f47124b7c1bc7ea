import pytest
from shop.prices import cheapest, discount


def test_discount_takes_a_share_of_the_price():
    assert discount(2000, 25) == 1500


def test_no_discount_leaves_the_price():
    assert discount(999, 0) == 999


def test_discount_refuses_more_than_all():
    with pytest.raises(ValueError):
        discount(100, 101)


def test_cheapest():
    assert cheapest([300, 100, 200]) == 100
    assert cheapest([]) is None
