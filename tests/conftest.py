"""What all tests share."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.corpus.oracle", "tests.harness")

pytest_plugins = ["tests.harness.fixtures"]

# Machines that test are busy: an example that takes long is no failure. Failures print how to
# repeat them.
settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")
