from loadtest.syscalls import parse

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 59.06    0.300567          11     26233           sendto
 16.35    0.083221           3     26336        11 recvfrom
  0.00    0.000005           5         1           timer_settime
------ ----------- ----------- --------- --------- ----------------
100.00    0.508919           6     52570        11 total
"""


def test_the_summary_of_strace_is_read_with_and_without_errors() -> None:
    assert parse(SUMMARY) == {"sendto": 26233, "recvfrom": 26336, "timer_settime": 1}


def test_an_empty_summary_has_no_calls() -> None:
    assert parse("") == {}
