"""How severe a decision is, on the scale of OPC UA."""

import math


# OPC UA gives events and conditions a severity from 1 to 1000 (OPC 10000-5, 6.4.2; conditions and alarms of OPC
# 10000-9 inherit it). Low, medium and high urgency are the thirds that its companion specifications name (OPC 40083,
# 6.4): 1 to 333, 334 to 666, 667 to 1000. Below, 0 means that there is nothing to report.
NOTHING, UNUSUAL, NO_DECISION, UNREADABLE = 0, 150, 200, 300
LOWEST_ANOMALY, LOWEST_ALARM, HIGHEST = 334, 500, 1000
DECADES = 3  # of a p-value below the accepted rate of false alarms that make a deviation as large as can be
SHORT_S, LONG_S = 60.0, 86_400.0  # an alarm that stands for a day is as urgent as its duration can make it


def deviation_part(p_value: float, false_alarm_rate: float) -> float:
    """From 0, at the threshold, to 1, three powers of ten below it."""
    decades = math.log10(max(false_alarm_rate, 1e-12) / max(p_value, 1e-12))
    return min(max(decades / DECADES, 0.0), 1.0)


def duration_part(seconds: float) -> float:
    """From 0, for a minute or less, to 1, for a day or more; logarithmic between."""
    return min(max(math.log(max(seconds, SHORT_S) / SHORT_S) / math.log(LONG_S / SHORT_S), 0.0), 1.0)


def anomaly_severity(deviation: float) -> int:
    """Of an anomaly that has not raised an alarm: 334 to 499."""
    return LOWEST_ANOMALY + round((LOWEST_ALARM - 1 - LOWEST_ANOMALY) * deviation)


def alarm_severity(deviation: float, seconds: float) -> int:
    """
    Of a standing alarm: 500 to 1000, half of it by how improbable the sound is, half by how long it lasts.

    Args:
        deviation (`float`): of [`deviation_part`], the largest since the alarm began.
        seconds (`float`): since when it lasts.
    """
    return LOWEST_ALARM + round((HIGHEST - LOWEST_ALARM) * (deviation + duration_part(seconds)) / 2)
