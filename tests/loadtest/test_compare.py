import pytest

from loadtest import configurations
from loadtest.compare import Result, Window, summarise, table


def window(units: float, cpu_seconds: float, failures: int = 0, others: float = 0.0) -> Window:
    return Window(
        units=units,
        failures=failures,
        reconnects=0,
        seconds=2.0,
        cpu_seconds=cpu_seconds,
        others=others,
    )


def result(microseconds: float, failures: int = 0) -> Result:
    return Result(
        microseconds=microseconds,
        lowest=microseconds,
        highest=microseconds,
        rate=1000.0,
        busy=1.0,
        others=0.0,
        failures=failures,
        reconnects=0,
    )


def test_the_median_is_that_of_the_less_disturbed_half() -> None:
    found = summarise(
        [
            window(1000, 0.020, others=0.1),
            window(1000, 0.500, others=0.7),
            window(1000, 0.024, others=0.0),
            window(1000, 0.022, others=0.2),
            window(1000, 0.010, others=0.9),
        ]
    )

    assert found.microseconds == pytest.approx(22)
    assert (found.lowest, found.highest) == pytest.approx((20, 24))
    assert found.rate == pytest.approx(500)
    assert found.busy == pytest.approx(0.011)
    assert found.others == pytest.approx(0.1)


def test_wrong_answers_of_all_rounds_are_added() -> None:
    assert summarise([window(10, 0.1, failures=2), window(10, 0.1, failures=1)]).failures == 3


def test_the_ratio_says_how_dear_we_are_beside_a_peer() -> None:
    text = table(
        {"small": {configurations.OURS: result(30), "nginx": result(20)}},
        [configurations.OURS, "nginx"],
    )

    assert [line.split()[-1] for line in text.splitlines() if "nginx" in line] == ["1.50"]


def test_wrong_answers_are_said_beside_the_numbers() -> None:
    text = table({"small": {"nginx": result(20, failures=7)}}, ["nginx"])

    assert "7 wrong answers" in text
