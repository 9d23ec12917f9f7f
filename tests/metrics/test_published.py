"""
The organizers' published tables, reproduced from their own per-machine numbers.

Sources: the READMEs of the organizers' evaluators and baselines on GitHub: y-kawagu/dcase2020_task2_baseline,
y-kawagu/dcase2021_task2_evaluator, Kota-Dohi/dcase2022_evaluator, nttcslab/dcase2023_task2_evaluator,
nttcslab/dcase2024_task2_evaluator, nttcslab/dcase2025_task2_evaluator, nttcslab/dcase2026_task2_evaluator; the same
totals stand in arXiv 2305.07828, 2406.07250 and 2506.10097.
"""

import pytest

from hf_asd.metrics.functional import harmonic_mean
from hf_asd.metrics.official_score import official_score, summarize


# Machine id: AUC, pAUC; the last line is the published average. Rounded to six digits.
BASELINE_2020 = {
    "ToyCar": [
        *((0.828474, 0.678514), (0.866307, 0.762236), (0.639396, 0.546659), (0.869477, 0.701461)),
        (0.800914, 0.672218),
    ],
    "ToyConveyor": [*((0.793497, 0.650428), (0.64243, 0.564437), (0.744579, 0.60488)), (0.726835, 0.606582)],
    "fan": [
        *((0.539607, 0.492435), (0.721866, 0.554171), (0.622098, 0.527072), (0.72277, 0.529961)),
        (0.651585, 0.52591),
    ],
    "pump": [
        *((0.670769, 0.57269), (0.609369, 0.58037), (0.8886, 0.676842), (0.734902, 0.570175)),
        (0.72591, 0.600019),
    ],
    "slider": [
        *((0.963315, 0.818451), (0.78809, 0.628819), (0.946011, 0.739503), (0.702247, 0.490242)),
        (0.849916, 0.669254),
    ],
    "valve": [
        *((0.687311, 0.51349), (0.674083, 0.512281), (0.744, 0.515351), (0.552833, 0.482895)),
        (0.664557, 0.506004),
    ],
}

# Section: AUC source, AUC target, pAUC source, pAUC target; then the published harmonic means of AUC and pAUC.
EVALUATOR_2021 = {
    "fan": (
        {
            "03": (0.6669, 0.5229, 0.5273684210526316, 0.49315789473684213),
            "04": (0.7014, 0.5357, 0.52, 0.5063157894736842),
            "05": (0.5834, 0.448452380952381, 0.5352631578947369, 0.4805764411027569),
        },
        (0.5634700058286667, 0.5097204125946903),
    ),
    "pump": (
        {
            "03": (0.7691000000000001, 0.5727, 0.5810526315789474, 0.5273684210526316),
            "04": (0.6904, 0.5555, 0.52, 0.521578947368421),
            "05": (0.6524000000000001, 0.6652, 0.5326315789473685, 0.5468421052631579),
        },
        (0.6430137021761633, 0.5374559270729756),
    ),
}

# Section: AUC over all clips, AUC source, AUC target, pAUC; then the published harmonic means of AUC and pAUC.
EVALUATOR_2022 = {
    "ToyCar": (
        {
            "03": (0.7579, 0.8204, 0.6954, 0.71),
            "04": (0.5183, 0.6164, 0.4202, 0.4942105263157895),
            "05": (0.6746, 0.8371999999999999, 0.512, 0.6447368421052632),
        },
        (0.6118288605395442, 0.6020590065980902),
    ),
    "bearing": (
        {
            "03": (0.5661, 0.6338, 0.49839999999999995, 0.47368421052631576),
            "04": (0.7188000000000001, 0.772, 0.6656, 0.66),
            "05": (0.5995, 0.7701999999999999, 0.4288, 0.5168421052631579),
        },
        (0.5992569463670572, 0.5394626348869298),
    ),
}

# Year, system: total (harmonic, arithmetic), harmonic means, then AUC source, AUC target and pAUC of every machine.
EVALUATORS = {
    (2023, "selective Mahalanobis"): (
        (0.6105082186925268, 0.6430834459860557),
        (0.7871141310430937, 0.53090862919051, 0.5682103280865886),
        {
            "bandsaw": (0.836434267021059, 0.5885844748858448, 0.5753594967896497),
            "grinder": (0.7409411378914575, 0.50682261208577, 0.5955291246149972),
            "shaker": (0.8476602762317048, 0.6299533799533801, 0.6233307541280444),
            "ToyDrone": (0.8130000000000001, 0.4622, 0.5142105263157895),
            "ToyNscale": (0.6678000000000002, 0.409, 0.5089473684210526),
            "ToyTank": (0.8011999999999999, 0.4532, 0.5384210526315789),
            "Vacuum": (0.8383999999999999, 0.9006, 0.653157894736842),
        },
    ),
    (2023, "MSE"): (
        (0.5925469043549957, 0.6114287349222227),
        (0.7423494890244248, 0.5253826834789426, 0.5517419647782388),
        {
            "bandsaw": (0.6667348190554078, 0.48287671232876717, 0.5091087658743451),
            "grinder": (0.706837186424004, 0.5516569200779727, 0.5846166760294185),
            "shaker": (0.69428983714698, 0.5604118104118104, 0.5491654428600755),
            "ToyDrone": (0.7968000000000001, 0.561, 0.5368421052631579),
            "ToyNscale": (0.77, 0.4716, 0.5178947368421053),
            "ToyTank": (0.7212000000000001, 0.6468, 0.5826315789473684),
            "Vacuum": (0.8816, 0.45320000000000005, 0.5947368421052631),
        },
    ),
    (2024, "selective Mahalanobis"): (
        (0.5648933421610234, 0.5832003898635478),
        (0.6718221907158789, 0.5144113485475758, 0.5324024369331867),
        {
            "3DPrinter": (0.7544, 0.42399999999999993, 0.508421052631579),
            "AirCompressor": (0.6609999999999999, 0.555, 0.6078947368421053),
            "Scanner": (0.5684, 0.5549999999999999, 0.4926315789473684),
            "ToyCircuit": (0.6794, 0.4464, 0.4921052631578947),
            "HoveringDrone": (0.8387999999999999, 0.46399999999999997, 0.5800000000000001),
            "HairDryer": (0.606, 0.5898, 0.5510526315789473),
            "ToothBrush": (0.6556, 0.579, 0.48368421052631577),
            "RoboticArm": (0.5834, 0.42499999999999993, 0.5178947368421053),
            "BrushlessMotor": (0.8032, 0.7338, 0.5905263157894737),
        },
    ),
    (2024, "MSE"): (
        (0.5650830191796572, 0.5863391812865497),
        (0.7150555228086642, 0.5057977147441246, 0.5172271108149132),
        {
            "3DPrinter": (0.7912, 0.47959999999999997, 0.4942105263157895),
            "AirCompressor": (0.65, 0.4824, 0.5547368421052632),
            "Scanner": (0.6916, 0.5374000000000001, 0.5010526315789474),
            "ToyCircuit": (0.7658, 0.5266000000000001, 0.5),
            "HoveringDrone": (0.8601999999999999, 0.43879999999999997, 0.5021052631578947),
            "HairDryer": (0.6224000000000001, 0.4598, 0.5163157894736842),
            "ToothBrush": (0.7504000000000001, 0.6948, 0.5273684210526316),
            "RoboticArm": (0.6596, 0.4152, 0.511578947368421),
            "BrushlessMotor": (0.7070000000000001, 0.6352, 0.5557894736842105),
        },
    ),
    (2025, "selective Mahalanobis"): (
        (0.5650558189601554, 0.596471052631579),
        (0.719933864244911, 0.4788331261490967, 0.5459161077739156),
        {
            "AutoTrash": (0.7726000000000001, 0.526, 0.541578947368421),
            "HomeCamera": (0.8616, 0.42640000000000006, 0.5184210526315789),
            "ToyPet": (0.6981999999999999, 0.509, 0.5684210526315789),
            "ToyRCCar": (0.5586, 0.5548, 0.54),
            "BandSealer": (0.7638, 0.3268, 0.49105263157894735),
            "CoffeeGrinder": (0.7498, 0.4042, 0.5142105263157895),
            "Polisher": (0.7041999999999999, 0.5278, 0.5378947368421052),
            "ScrewFeeder": (0.729, 0.7904000000000001, 0.7005263157894737),
        },
    ),
    (2025, "MSE"): (
        (0.5442827820713174, 0.5728557017543859),
        (0.6879822239700398, 0.44954916968961445, 0.5452967030441773),
        {
            "AutoTrash": (0.8102, 0.3436, 0.5421052631578948),
            "HomeCamera": (0.8140000000000001, 0.4976, 0.5284210526315789),
            "ToyPet": (0.677, 0.36699999999999994, 0.55),
            "ToyRCCar": (0.5284, 0.6271999999999999, 0.5552631578947368),
            "BandSealer": (0.7198, 0.3956, 0.5205263157894737),
            "CoffeeGrinder": (0.7303999999999999, 0.4436, 0.5342105263157895),
            "Polisher": (0.6686000000000001, 0.443, 0.5231578947368422),
            "ScrewFeeder": (0.6486, 0.6592, 0.6210526315789474),
        },
    ),
    (2026, "selective Mahalanobis"): (
        (0.5476277174340481, 0.57352),
        (0.6085641541440189, 0.4985220763401413, 0.5467370545597742),
        {
            "ToyDrone": (0.7275999999999999, 0.5428, 0.5926315789473684),
            "ToothBrush": (0.4398, 0.394, 0.5278947368421053),
            "SewingMachine": (0.6033999999999999, 0.43760000000000004, 0.5057894736842106),
            "BlowerDustCollector": (0.6766, 0.872, 0.6389473684210526),
            "Sander": (0.698, 0.45100000000000007, 0.49473684210526314),
        },
    ),
    (2026, "MSE"): (
        (0.5980289616592438, 0.614922807017544),
        (0.6606242657626471, 0.5732431794118468, 0.568731371472361),
        {
            "ToyDrone": (0.7126000000000001, 0.468, 0.5510526315789473),
            "ToothBrush": (0.5902, 0.6434000000000001, 0.5978947368421053),
            "SewingMachine": (0.6484, 0.6142, 0.5810526315789474),
            "BlowerDustCollector": (0.6948000000000001, 0.8837999999999999, 0.6178947368421053),
            "Sander": (0.6714, 0.4402, 0.5089473684210526),
        },
    ),
}


@pytest.mark.parametrize(("year", "system"), EVALUATORS, ids=lambda value: str(value))
def test_evaluators_of_2023_to_2026(year, system):
    (harmonic, arithmetic), means, machines = EVALUATORS[year, system]
    sections = [
        {"machine": machine, "section": "00", "auc_source": source, "auc_target": target, "pauc": pauc}
        for machine, (source, target, pauc) in machines.items()
    ]
    result = summarize(sections, year)
    assert result["official_score"] == pytest.approx(harmonic, abs=1e-14)
    assert result["harmonic_mean"] == pytest.approx(harmonic, abs=1e-14)
    assert result["arithmetic_mean"] == pytest.approx(arithmetic, abs=1e-14)
    found = [result[name] for name in ("auc_source", "auc_target", "pauc")]
    assert found == pytest.approx(means, abs=1e-14)


def test_totals_as_the_papers_round_them():
    rounded = {key: round(total[0], 5) for key, (total, _, _) in EVALUATORS.items()}
    assert rounded[2023, "selective Mahalanobis"] == 0.61051
    assert rounded[2024, "MSE"] == 0.56508
    assert rounded[2025, "selective Mahalanobis"] == 0.56506


@pytest.mark.parametrize("machine", EVALUATOR_2022)
def test_evaluator_of_2022(machine):
    sections, (auc, pauc) = EVALUATOR_2022[machine]
    aucs = [value for _, source, target, _ in sections.values() for value in (source, target)]
    assert harmonic_mean(aucs) == pytest.approx(auc, abs=1e-14)
    rows = [
        {"machine": machine, "section": section, "auc_source": source, "auc_target": target, "pauc": value}
        for section, (_, source, target, value) in sections.items()
    ]
    result = summarize(rows, 2022)["machines"][machine]
    assert result["pauc"] == pytest.approx(pauc, abs=1e-14)
    # Both harmonic means are of three values, so that their own harmonic mean is the one over all six.
    assert harmonic_mean([result["auc_source"], result["auc_target"]]) == pytest.approx(auc, abs=1e-14)
    # 50 normal clips a domain against the same 100 anomalies: the AUC over all clips lies halfway. It would not if a
    # domain's AUC took that domain's anomalies only.
    for everything, source, target, _ in sections.values():
        assert everything == pytest.approx((source + target) / 2, abs=1e-14)


def test_total_of_2022():
    """Its published means over all machines, and the official score that the same file gives."""
    assert harmonic_mean([0.6423240401028497, 0.45126505654047017, 0.5280441052754629]) == pytest.approx(
        0.5294160921841315, abs=1e-14
    )


@pytest.mark.parametrize("machine", EVALUATOR_2021)
def test_evaluator_of_2021(machine):
    sections, (auc, pauc) = EVALUATOR_2021[machine]
    names = ("auc_source", "auc_target", "pauc_source", "pauc_target")
    rows = [
        {"machine": machine, "section": section, **dict(zip(names, values, strict=True))}
        for section, values in sections.items()
    ]
    result = summarize(rows, 2021)
    assert harmonic_mean([result["auc_source"], result["auc_target"]]) == pytest.approx(auc, abs=1e-14)
    assert harmonic_mean([result["pauc_source"], result["pauc_target"]]) == pytest.approx(pauc, abs=1e-14)
    assert result["official_score"] == pytest.approx(harmonic_mean([auc, pauc]), abs=1e-14)


@pytest.mark.parametrize("machine", BASELINE_2020)
def test_baseline_of_2020(machine):
    *rows, (auc, pauc) = BASELINE_2020[machine]
    sections = [
        {"machine": machine, "section": f"{number:02d}", "auc": row[0], "pauc": row[1]}
        for number, row in enumerate(rows)
    ]
    result = summarize(sections, 2020)["machines"][machine]
    assert (result["auc"], result["pauc"]) == pytest.approx((auc, pauc), abs=1e-6)
    assert official_score(sections, 2020) == pytest.approx((auc + pauc) / 2, abs=1e-6)
