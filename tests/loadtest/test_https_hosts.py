import os
import re
from pathlib import Path

from loadtest.https_hosts import measure, spread


def test_every_host_is_asked_and_answers_with_its_own_certificate(tmp_path: Path) -> None:
    rows = measure(tmp_path, 3, max(os.sched_getaffinity(0)))

    assert len(list((tmp_path / "manifests" / "hosts").iterdir())) == 3
    assert all(re.match(r"\d+(\.\d)? (s|MiB|ms)", value) for value in rows.values())
    assert float(rows["worker before the first handshake"].split()[0]) > 10


def test_the_spread_is_median_and_last_hundredth() -> None:
    assert spread([float(n) for n in range(1, 102)]) == "51.0 ms (median), 100.0 ms (99 %)"
