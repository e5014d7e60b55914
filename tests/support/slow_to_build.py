"""A variant, given as an object, whose build() does not come back."""

import time

from moebench.contract import Variant


class Slow(Variant):
    name = "slow"

    def build(self, shape, size):
        time.sleep(1000)
