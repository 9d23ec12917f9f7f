import pytest

from hf_asd import AlarmPolicy


def events(policy, decisions):
    """The windows, counted from 0, at which something happens. x: anomalous, .: normal, -: no decision."""
    told = [policy.update({"x": True, ".": False, "-": None}[mark]) for mark in decisions]
    return [(window, event) for window, event in enumerate(told) if event]


def test_m_of_n_windows_raise_and_only_quiet_clears():
    assert events(AlarmPolicy(3, 5), "x....x....x....x....") == []
    assert events(AlarmPolicy(3, 5), "x.x.x") == [(4, "raised")]
    assert events(AlarmPolicy(1, 1), "x.x") == [(0, "raised"), (1, "cleared"), (2, "raised")]
    # Hysteresis: raised at 3 of 5, it stands until none of the last 5 (or at most clear_at) is anomalous.
    assert events(AlarmPolicy(3, 5), "xxx....x....") == [(2, "raised")]
    assert events(AlarmPolicy(3, 5), "xxx.....") == [(2, "raised"), (7, "cleared")]
    assert events(AlarmPolicy(3, 5, clear_at=1), "xxx.....") == [(2, "raised"), (6, "cleared")]


def test_cool_down_keeps_a_flickering_fault_to_one_alarm():
    flicker = "xxx..xxx..xxx.."
    assert len(events(AlarmPolicy(2, 2), flicker)) == 6
    assert events(AlarmPolicy(2, 2, cool_down=10), flicker) == [(1, "raised"), (4, "cleared")]
    # The fault goes on after the cool-down: it is told again.
    assert events(AlarmPolicy(2, 2, cool_down=3), "xx..xxxxx") == [(1, "raised"), (3, "cleared"), (7, "raised")]


def test_windows_without_a_decision_change_nothing():
    policy = AlarmPolicy(2, 3)
    assert events(policy, "x----x") == [(5, "raised")]
    assert policy.standing
    assert events(policy, "-----") == [] and policy.standing
    assert events(policy, "...") == [(2, "cleared")] and not policy.standing


@pytest.mark.parametrize("counts", [(0, 5), (6, 5), (3, 5, 3), (3, 5, 0, -1)])
def test_counts_that_contradict_each_other_are_refused(counts):
    with pytest.raises(ValueError, match="(raise_at|clear_at|cool_down) is"):
        AlarmPolicy(*counts)
