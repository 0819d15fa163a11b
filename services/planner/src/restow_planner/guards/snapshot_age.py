"""A snapshot that is too old, or from the future, is no ground to act on; pure."""

from restow_planner.guards.base import Facts, Stop

AGE_MAX_S = 300.0
AHEAD_MAX_S = 60.0  # clocks of two machines differ a little


class SnapshotAge:
    name = "snapshot-age"

    def judge(self, facts: Facts) -> Stop | None:
        age_s = (facts.now - facts.cloud.taken_at).total_seconds()
        if age_s > AGE_MAX_S:
            return Stop(
                self.name, f"the picture of the cloud is {age_s:.0f} s old, at most {AGE_MAX_S:.0f} s are accepted"
            )
        if age_s < -AHEAD_MAX_S:
            return Stop(
                self.name, f"the picture of the cloud is dated {-age_s:.0f} s ahead of our clock: one of them is wrong"
            )
        return None
