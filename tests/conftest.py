"""What all tests share."""

import pytest

pytest.register_assert_rewrite("tests.corpus.oracle", "tests.harness")

pytest_plugins = ["tests.harness.fixtures"]
