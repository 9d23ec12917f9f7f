"""The words of the trade in English, German, Japanese, Chinese and Spanish."""

# Case, accents, full-width letters and separators do not matter; `in_ordnung` is a phrase of two words.
NORMAL = """
normal normals normally norm ok okay o.k. good goods fine_condition healthy health baseline reference references ref
nominal intact undamaged faultless golden pass passed accepted acceptable approved conforming
gut gutteil gutteile io i.o. in_ordnung intakt gesund unauffällig einwandfrei fehlerfrei unbeschädigt referenz
normalzustand normalbetrieb
bueno buenos buena buenas sano sanos sana sanas correcto correcta referencia apto conforme buen_estado aceptado
正常 正常品 正常音 良品 良好 合格 健全 健康 無異常 无异常 異常なし 異常無し 没有异常 基準 完好
"""
ANOMALY = """
anomaly anomalies anomalous anomal abnormal abnormals abnormality abnorm bad bads ng n.g. nok n.o.k. ko k.o. not_ok
faulty fault faults faulted defect defects defective broken damage damaged damages failed fail failure failures
unhealthy reject rejects rejected scrap scrapped malfunction malfunctioning unacceptable nonconforming nogo no_go
schlecht schlechtteil schlechtteile defekt defekte defektes nio n.i.O. ni_o nicht_in_ordnung ausschuss kaputt
beschädigt fehler schaden schäden fehlerhaft mangelhaft anomalie anomalien anormal gestört gestoert
malo malos mala malas falla fallas fallo fallos avería averías defecto defectos defectuoso defectuosos defectuosa
averiado averiados averiada dañado dañados dañada
roto rotos rota anomalía anomalías anómalo anómalos rechazado rechazados mal_estado no_apto no_conforme
異常 異常品 異常音 異音 不良 不良品 不合格 故障 故障品 欠陥 破損 異状 壊れ
异常 异常音 异响 不正常 非正常 次品 残次品 缺陷 损坏 破损 坏 坏品 廢品 废品
"""
UNKNOWN = """
unknown unlabeled unclear undefined unbekannt unklar desconocido desconocida
不明 未知 未标注 未標記 未分類 未分类
"""
TRAIN = """
train training trainset traindata learn learning
trainieren trainingsdaten lernen lerndaten entrenamiento entrenar
訓練 学習 学習用 訓練用 训练 训练集 学习
"""
TEST = """
test tests testing testset testdata eval evaluation evaluate val valid validate validation holdout hold_out
testdaten validierung auswertung prueba pruebas validación evaluación
テスト 評価 検証 試験 测试 测试集 验证 验证集 評估 评估
"""
# They may mean a fault, or not: nothing is learned from them until somebody says so.
FAULT_HINTS = """
crack cracks cracked cracking leak leaks leaking leakage leaky imbalance imbalanced unbalance unbalanced misalignment
misaligned misalign loose looseness loosened worn wear rub rubbing rubbed spall spalled spalling pitting pitted chipped
bent eccentric eccentricity cavitation clog clogged clogging blocked blockage contamination contaminated scratch
scratched scratches dent dented corrosion corroded rust rusty fracture fractured error errors alarm alarms warning
degraded degradation rattle rattling squeak squeaking squeal knocking overheat overheated overheating overload
overloaded jam jammed stalled missing unusual strange weird suspicious suspect issue issues problem problems outlier
outliers novelty noisy wrong poor race outerrace innerrace bpfo bpfi bsf burnt burned leaked fatigue failing seized
positive negative pos neg true false anomalyscore rework inoperative dead
riss risse leck lecks undicht leckage unwucht verschleiß verschlissen bruch gebrochen störung
locker gelockert ausrichtungsfehler fehlausrichtung verstopft verstopfung kratzer auffällig auffälligkeit ungewöhnlich
überlast überhitzt verdächtig nacharbeit
grieta grietas fuga fugas desbalance desequilibrio desgaste desgastado
desalineación desalineado holgura obstruido obstrucción atasco rotura raro sospechoso ruidoso
亀裂 ひび 漏れ 摩耗 アンバランス 不釣合い ミスアライメント 芯ずれ 緩み 損傷 劣化 傷 キズ 割れ 詰まり 焼付き
裂纹 裂缝 泄漏 漏水 漏气 漏油 磨损 不平衡 不对中 松动 断裂 老化 堵塞 损伤 划伤 变形
"""
# German joins words: Lagerschaden, Getriebefehler.
FAULT_ENDINGS = (
    "schaden",
    "schaeden",
    "fehler",
    "defekt",
    "bruch",
    "verschleiss",
    "unwucht",
    "leckage",
    "riss",
    "storung",
)
# Before a word they make it the opposite, behind it too: `not ok`, `fault free`.
NEGATIONS = "no not non nicht kein keine keinen ohne without sin never 不 非 無 无"
FREE_OF = "free frei libre なし 無し"
# With a condition: it has to be asked about (`before_fault`, `almost_ok`, `good_or_bad`).
HEDGES = """
before after pre post prior until till vs versus or oder almost nearly maybe possibly perhaps probably suspected
vor nach bis vielleicht fraglich vermutlich antes después hasta casi quizá repaired repair fixed repariert reparatur
reparado 前 後 后 修理 维修
"""
# They say that recordings are there, and nothing about them: such a folder is looked through.
FILLERS = """
data dataset datasets wav wave wavs flac mp3 ogg audio audios sound sounds recording recordings recorded raw file files
clip clips sample samples set stereo mono folder zoom dcim media part parts teil teile piece pieces operation operating
condition state class label all of the
daten datei dateien aufnahme aufnahmen ton töne zustand betrieb probe proben muster
datos grabación grabaciones sonido sonidos muestra muestras estado pieza piezas archivos
録音 データ 音 音声 サンプル 品 用 時 状態 录音 数据 声音 样本 样品 状态 的
"""
# With a number or a letter they name a session: `week 2`, `Schicht 3`, `session_2`, `run B`.
SESSION_WORDS = """
days date session sessions run runs week wk cw month hour shift take visit measurement campaign
tage sitzung lauf woche kw monat stunde schicht messung messreihe messtag
días sesión semana mes turno jornada medición
"""
# They name a session alone.
DAY_NAMES = """
january february march april june july august september october november december
jan feb apr jun jul aug sept sep oct nov dec
januar februar märz maerz mai juni juli oktober dezember mär okt dez
enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre
monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun
montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag
lunes martes miércoles jueves viernes sábado domingo
day night tag nacht día noche morning noon afternoon evening
frühschicht spätschicht nachtschicht morgens abends nachts mañana tarde
"""
