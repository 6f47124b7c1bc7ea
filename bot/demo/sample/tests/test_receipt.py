from shop.receipt import average, lines


def test_average():
    assert average([100, 200]) == 150


def test_average_of_an_empty_receipt():
    assert average([]) == 0


def test_lines_are_aligned():
    assert lines({"fig": 2, "banana": 10}) == ["fig      2", "banana  10"]
