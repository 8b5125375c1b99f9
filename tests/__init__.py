"""The tests of mensagod, in the order of its packages.

``MENSAGOD_TEST_EXAMPLES`` says how many examples a property gets where the test does not say: Hypothesis
takes 100, the quick suite fewer.
"""

import os

from hypothesis import settings

if examples := os.environ.get("MENSAGOD_TEST_EXAMPLES"):
    settings.register_profile("fewer", max_examples=int(examples))
    settings.load_profile("fewer")
