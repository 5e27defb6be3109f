"""The classifier: what its network computes, what its fitting learns and calibrates, and that a seed decides all of it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from training_pictures import Pictures, part, save, write_parts

from inspector.errors import ConfigError, DataError, InspectorError
from inspector.inference.bundle import InputSpec
from inspector.inference.engine import Model
from training.augment import NONE, Augmentation, augmented
from training.backbones import bare_backbone
from training.data.layouts import open_dataset
from training.data.splits import SplitShares
from training.fit import FitPlan, fit
from training.loop import LoopSettings
from training.models.classifier.fitting import ClassifierFitter, rebuild
from training.models.classifier.head import doubted, temperature
from training.models.classifier.late import LateStages, learns_alike
from training.models.classifier.network import UNFAMILIAR, Classifier, ClassifierSpec, Guard, PartFeatures, pooled
from training.models.classifier.settings import ClassifierSettings
from training.models.kind import DoubtedLabel
from training.models.scoring import score_images
from training.tables import doubts_text, fit_view

SETTINGS = ClassifierSettings(views=2, seed=1)


def _bright_line(seed: int) -> np.ndarray:
    pixels = part(seed)
    row = 8 + seed * 7 % 44
    pixels[row : row + 4] = 250
    return pixels


def _both(seed: int) -> np.ndarray:
    pixels = part(seed, defect=True)
    pixels[4:8] = 250
    return pixels


def _stranger(seed: int) -> np.ndarray:
    """Another product altogether: a checkerboard."""
    board = np.indices((64, 64)).sum(0) // (4 + seed % 3) % 2 * 200
    return np.asarray(board + 20, np.uint8)


MAKERS = {"good": part, "blot": lambda seed: part(seed, defect=True), "line": _bright_line}


def _data(good: int = 24, each: int = 10, first: int = 0) -> Pictures:
    counts = {"good": good, "blot": each, "line": each}
    labels = [label for label, count in counts.items() for _ in range(count)]
    pixels = [MAKERS[label](first + number) for number, label in enumerate(labels)]
    return _pictures(pixels, labels)


def _pictures(pixels: Sequence[np.ndarray], labels: Sequence[str]) -> Pictures:
    return _Labelled(np.stack(pixels)[..., None], labels)


class _Labelled(Pictures):
    """Pictures whose label "blot+line" stands for both classes."""

    def label(self, image: int) -> str:
        return super().label(image).split("+")[0]

    def labels(self, image: int) -> tuple[str, ...]:
        return tuple(super().label(image).split("+"))


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    data = _data()
    return ClassifierFitter(data, SETTINGS).fit(range(len(data)))


def _images(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)[..., None])


def _named(network: Classifier, class_scores: torch.Tensor) -> list[str]:
    return [network.classes[place] for place in class_scores.argmax(1).tolist()]


def test_new_parts_are_told_apart(fitted: Classifier) -> None:
    good = _images(*[part(seed) for seed in range(500, 508)])
    blots = _images(*[part(seed, defect=True) for seed in range(500, 508)])
    lines = _images(*[_bright_line(seed) for seed in range(500, 508)])
    (fine, _, _), (dark, _, dark_classes), (bright, _, bright_classes) = map(fitted, (good, blots, lines))
    assert float(fine.max()) < float(torch.cat([dark, bright]).min())
    assert fitted.classes == ("blot", "line", UNFAMILIAR)
    assert _named(fitted, dark_classes[:, :-1]).count("blot") >= 7
    assert _named(fitted, bright_classes[:, :-1]).count("line") >= 7


def test_a_part_unlike_training_scores_above_every_good_one_and_is_of_no_known_class(fitted: Classifier) -> None:
    good, _, _ = fitted(_images(*[part(seed) for seed in range(500, 520)]))
    random = np.random.default_rng(0)
    strangers = [_stranger(seed) for seed in range(3)]
    strangers += [random.integers(0, 255, (64, 64)).astype(np.uint8), np.full((64, 64), 255, np.uint8)]
    scores, _, classes = fitted(_images(*strangers))
    assert float(scores.min()) > float(good.max())
    assert _named(fitted, classes) == [UNFAMILIAR] * 5
    assert float(classes[:, :-1].max()) < 0.5


def test_good_parts_are_familiar(fitted: Classifier) -> None:
    _, _, classes = fitted(_images(*[part(seed) for seed in range(500, 540)]))
    assert float((classes[:, -1] > 0.5).float().mean()) <= 0.1


def test_class_scores_are_probabilities(fitted: Classifier) -> None:
    _, _, classes = fitted(
        _images(*[MAKERS[label](seed) for label, seed in itertools.product(MAKERS, range(600, 604))])
    )
    assert float(classes.min()) >= 0
    assert float(classes.sum(1).max()) <= 1 + 1e-5


def test_the_map_peaks_at_the_score_and_where_the_defect_is(fitted: Classifier) -> None:
    picture = part(700)
    spoilt = picture.copy()
    spoilt[40:54, 8:22] = 15
    scores, maps, _ = fitted(_images(picture, spoilt))
    torch.testing.assert_close(maps.amax((1, 2)), scores)
    row, column = divmod(int((maps[1] - maps[1].min() - maps[0] + maps[0].min()).argmax()), maps.shape[2])
    assert row >= 4
    assert column <= 4


def test_the_map_is_the_score_of_a_part_that_is_one_cell_all_over(fitted: Classifier) -> None:
    """Mean and maximum of equal cells are the cell, so the map's differences are differences of log-odds."""
    cells = [torch.randn(1, count, 1, 1).expand(1, count, 8, 8) for count in fitted.features.backbone.channels]
    other = [torch.randn_like(level[..., :1, :1]).expand_as(level) for level in cells]
    mixed = [torch.cat([a[..., :4], b[..., :4]], 3) for a, b in zip(cells, other, strict=True)]

    def odds(level_cells: list[torch.Tensor]) -> torch.Tensor:
        standard = (pooled(level_cells) - fitted.centre) / fitted.deviation
        # The map leaves the constant of the head out, which is the same for all cells of an image.
        logits = (fitted.head(standard) - fitted.head(-fitted.centre / fitted.deviation)) / fitted.temperature
        return fitted.odds(logits)

    shown = fitted._map(mixed, torch.ones(1), torch.zeros(1))[0]
    torch.testing.assert_close(shown[0, 0] - shown[0, 7], odds(cells)[0] - odds(other)[0], rtol=1e-3, atol=1e-2)


def test_scores_do_not_depend_on_the_batch(fitted: Classifier) -> None:
    images = _images(*[part(seed, defect=seed % 2 == 0) for seed in range(5)])
    together, alone = fitted(images)[0], torch.cat([fitted(image[None])[0] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


def test_the_exported_graph_gives_the_same_and_knows_the_stranger(fitted: Classifier) -> None:
    from training.export import to_onnx

    graph = to_onnx(fitted, (64, 64, 1))
    model = Model(graph, InputSpec(64, 64, 1), fitted.classes)
    images = _images(part(900), part(901, defect=True), _bright_line(902), _stranger(0))
    scores, maps, classes = fitted(images)
    for ours, score, heat, known in zip(model.infer(images.numpy()), scores, maps, classes, strict=True):
        assert ours.score == pytest.approx(float(score), rel=1e-3, abs=1e-3)
        np.testing.assert_allclose(ours.anomaly_map, heat.numpy(), rtol=1e-3, atol=1e-2)
        assert list(ours.class_scores.values()) == pytest.approx(known.tolist(), abs=1e-3)


def test_it_comes_back_from_its_structure_and_tensors(fitted: Classifier) -> None:
    again = rebuild(fitted.structure()).eval()
    again.load_state_dict(fitted.state_dict())
    images = _images(part(1), _stranger(1))
    for ours, theirs in zip(again(images), fitted(images), strict=True):
        assert torch.equal(ours, theirs)


def test_the_same_seed_gives_the_same_network(fitted: Classifier) -> None:
    data = _data()
    fitter = ClassifierFitter(data, SETTINGS)
    assert torch.equal(fitter.fit(range(len(data))).head.weight, fitted.head.weight)
    fewer = fitter.fit([image for image in range(len(data)) if image % 4])
    assert not torch.equal(fewer.head.weight, fitted.head.weight)
    assert torch.equal(fitter.fit(range(len(data))).bank, fitted.bank)


def test_without_good_parts_the_guard_alone_is_the_score() -> None:
    data = _data(good=0, each=12)
    network = ClassifierFitter(data, SETTINGS).fit(range(len(data)))
    assert not network.knows_good
    known = score_images(network, data, range(len(data)), lambda done: None)
    assert known.class_scores is not None
    assert (known.class_scores[:, :2].argmax(1) == np.array([data.label(i) == "line" for i in range(24)])).mean() > 0.9
    assert float(network(_images(_stranger(0)))[0]) > known.scores.max()


def test_a_part_may_show_two_classes() -> None:
    single = _data(good=24, each=12)
    pixels = [single.pixels(image)[..., 0] for image in range(len(single))] + [_both(seed) for seed in range(12)]
    data = _pictures(pixels, [*(single.label(image) for image in range(len(single))), *["blot+line"] * 12])
    network = ClassifierFitter(data, SETTINGS).fit(range(len(data)))
    assert network.several
    scores, _, classes = network(_images(part(800), _both(800), part(801, defect=True), _bright_line(802)))
    assert float(scores[0]) < float(scores[1:].min())
    shown = (classes[:, :2] > 0.5 * (1 - classes[:, 2:])).tolist()
    assert shown == [[False, False], [True, True], [True, False], [False, True]]


def test_wrong_labels_are_named() -> None:
    data = _data(good=24, each=12)
    labels = [data.label(image) for image in range(len(data))]
    labels[3], labels[26] = "blot", "good"
    wrong = _pictures([data.pixels(image)[..., 0] for image in range(len(data))], labels)
    fitter = ClassifierFitter(wrong, SETTINGS)
    fitter.fit(range(len(data)))
    named = {(doubt.path, doubt.label, doubt.says) for doubt in fitter.doubts}
    assert {("3", "blot", "good"), ("26", "good", "blot")} <= named
    assert len(named) <= 4


def test_a_fit_shows_and_records_the_labels_that_it_doubts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_parts(tmp_path, good=24, defects={"blot": 12})
    save(root / "good" / "taken_for_good.png", part(500, defect=True))
    settings = replace(SETTINGS, views=1)
    plan = FitPlan(width_px=64, height_px=64, kind="classifier", settings=settings, shares=SplitShares(0.0, 0.0))
    outcome = fit(open_dataset(str(root)), plan)
    ours = [doubt for doubt in outcome.doubts if doubt.path == "good/taken_for_good.png"]
    assert [(doubt.label, doubt.says) for doubt in ours] == [("good", "blot")]
    assert len(outcome.doubts) < 3
    assert outcome.fitted.metrics["doubted_labels"] == {
        "count": len(outcome.doubts),
        "worst": [[doubt.path, doubt.label, doubt.says, doubt.probability] for doubt in outcome.doubts],
    }
    Console(width=300).print(fit_view(outcome))
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"good/taken_for_good.png \(good, looks like blot at \d\d %\).*Look which is right", shown)


def test_a_long_list_of_doubted_labels_is_cut() -> None:
    doubts = [DoubtedLabel(f"cut/{n}\n.png", "cut", "good", 0.9) for n in range(7)]
    text = doubts_text(doubts)
    assert text.startswith("7 labels are not what a model fitted without the image says: ")
    assert "and 2 more" in text
    assert "\n" not in text
    assert doubts_text(doubts[:1]).startswith("1 label is not ")


def test_rare_classes_count_more_when_balanced() -> None:
    data = _data(good=40, each=4)
    even = ClassifierFitter(data, replace(SETTINGS, balance=1.0))
    weights = even._weights(range(len(data)))
    assert float(weights[:40].sum()) == pytest.approx(float(weights[40:44].sum()))
    plain = ClassifierFitter(data, replace(SETTINGS, balance=0.0))._weights(range(len(data)))
    assert torch.equal(plain, torch.ones(len(data)))


def test_a_doubtful_label_stands_for_shares_of_classes() -> None:
    data = _data(good=12, each=6)
    labels = ["maybe" if image < 4 else data.label(image) for image in range(len(data))]
    pictures = _pictures([data.pixels(image)[..., 0] for image in range(len(data))], labels)
    settings = replace(SETTINGS, mixtures={"maybe": {"good": 0.75, "blot": 0.25}})
    fitter = ClassifierFitter(pictures, settings)
    assert fitter.classes == ("blot", "line")
    assert fitter._targets[0].tolist() == [0.75, 0.25, 0.0]


def test_what_the_labellers_did_not_agree_on_goes_to_the_other_classes() -> None:
    data = _data(good=2, each=2)
    object.__setattr__(data, "agreement", lambda image: 0.75 if image in (0, 2) else 1.0)
    targets = ClassifierFitter(data, replace(SETTINGS, views=1))._targets
    assert targets[0].tolist() == [0.75, 0.125, 0.125]
    assert targets[1].tolist() == [1.0, 0.0, 0.0]
    assert targets[2].tolist() == [0.125, 0.75, 0.125]


def test_a_fifth_of_few_parts_and_hardly_more_than_200_of_many_are_held_back() -> None:
    few, many = (_pictures([part(0)] * count, ["good", "blot"] * (count // 2)) for count in (40, 1200))
    for data, held_back in ((few, 8), (many, 200)):
        fitter = object.__new__(ClassifierFitter)
        fitter._data, fitter._settings = data, SETTINGS
        assert fitter._folds(range(len(data)), most=200).count(0) == held_back


TUNED = replace(
    SETTINGS,
    train_from=4,
    loop=LoopSettings(epochs=2, batch=16, rate=3e-4),
    augmentation=Augmentation(flip_horizontal=True),
)


def test_late_stages_learn_and_early_ones_stay(tmp_path: Path) -> None:
    data = _data(good=20, each=10)
    told: set[str] = set()
    fitter = ClassifierFitter(data, replace(TUNED, checkpoint=str(tmp_path)))
    network = fitter.fit(range(len(data)), lambda stage, done, total: told.add(stage))
    before, after = fitter._features.backbone.state_dict(), network.features.backbone.state_dict()
    changed = {name.split(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"5", "6"}
    assert "Learning" in told
    assert len(list(tmp_path.iterdir())) == 1
    good, bad = (
        network(_images(*[part(seed, defect=spoilt) for seed in range(300, 306)]))[0] for spoilt in (False, True)
    )
    assert float(good.max()) < float(bad.min())
    again = ClassifierFitter(data, replace(TUNED, checkpoint=str(tmp_path))).fit(range(len(data)))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("backbone", "stage"),
    [
        pytest.param("tf_efficientnet_lite0", 2, id="after stride 8"),
        pytest.param("tf_efficientnet_lite0", 1, id="after stride 4"),
        pytest.param("resnet10t", 2, id="a network with layers instead of blocks"),
        pytest.param("convnext_atto", 1, id="a network whose stages lie side by side"),
    ],
)
def test_late_stages_make_of_kept_cells_what_the_whole_makes_of_the_image(backbone: str, stage: int) -> None:
    torch.manual_seed(0)
    levels = (1, 2, 3)
    features = PartFeatures(ClassifierSpec(backbone, levels), bare_backbone(backbone).eval()).eval()
    standard = (torch.zeros(features.width), torch.ones(features.width))
    guard = Guard(torch.zeros(1, 1), torch.zeros(4))
    network = Classifier(features, ("blot",), standard, guard, knows_good=True, several=False)
    pixels = 255 * torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        cells = features.of_pixels(pixels)
        place = levels.index(stage)
        before = pooled(cells[: place + 1])
        late = LateStages(network, stage)
        torch.testing.assert_close(late(cells[place], before), network.logits(pixels), rtol=1e-4, atol=1e-4)
        assert learns_alike(late, cells[place].half(), before, pooled(cells))
        assert not learns_alike(late, torch.zeros_like(cells[place]), before, pooled(cells))
    ours = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in late.parameters()} < ours


@pytest.mark.parametrize("room", [1 << 30, 0], ids=["from kept features", "from pixels, as nothing fits"])
def test_late_stages_learn_the_same_way_whatever_memory_there_is(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.models.classifier.seeing.KEPT_BYTES", room)
    data = _data(good=20, each=10)
    fitter = ClassifierFitter(data, TUNED)
    assert (fitter._seen.early is not None) == bool(room)
    network = fitter.fit(range(len(data)))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), fitter.fit(range(40)).parameters(), strict=True))
    good, bad = (
        network(_images(*[part(seed, defect=spoilt) for seed in range(300, 306)]))[0] for spoilt in (False, True)
    )
    assert float(good.max()) < float(bad.min())


def test_kept_features_stay_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 views asked for, as many as fit: cells of 112 × 4 × 4 in half precision are 3,584 bytes."""
    monkeypatch.setattr("training.models.classifier.seeing.KEPT_BYTES", 40 * 3584 * 3 + 100)
    data = _data(good=20, each=10)
    early = ClassifierFitter(data, replace(TUNED, views=8))._seen.early
    assert early is not None
    assert early.shape == (40, 3, 112, 4, 4)


def _only_good() -> Pictures:
    return _data(good=6, each=0)


def _taken_name() -> Pictures:
    return _pictures([part(0), part(1), part(2, defect=True)], ["good", "good", UNFAMILIAR])


def _one_part() -> Pictures:
    data = _pictures([part(0), part(0, defect=True)], ["good", "blot"])
    object.__setattr__(data, "entries", tuple(replace(entry, group=0) for entry in data.entries))
    return data


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_only_good, "choose a kind for good parts only", id="no defect class"),
        pytest.param(_taken_name, "rename that folder", id="a class of the guard's name"),
        pytest.param(_one_part, "at least two parts", id="one part"),
    ],
)
def test_images_that_cannot_teach_it_are_refused(make, says: str) -> None:  # type: ignore[no-untyped-def]
    data = make()
    with pytest.raises(DataError, match=says):
        ClassifierFitter(data, SETTINGS).fit(range(len(data)))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"views": 0}, id="no view"),
        pytest.param({"balance": 2.0}, id="balance beyond 1"),
        pytest.param({"smoothing": 0.9}, id="all smoothed away"),
        pytest.param({"mixtures": {"maybe": {"good": 0.5}}}, id="shares that do not add up"),
        pytest.param({"mixtures": {"maybe": {"good": math.nan}}}, id="a share that is no number"),
        pytest.param({"mixup": 1.0}, id="mixup of 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"got|add up"):
        ClassifierSettings(**settings)


def test_mixtures_of_a_label_that_is_not_there_are_refused() -> None:
    settings = replace(SETTINGS, mixtures={"mabye": {"good": 1.0}})
    data = Pictures(np.stack([part(seed) for seed in range(4)])[..., None], ["good"] * 2 + ["maybe"] * 2)
    with pytest.raises(DataError, match=r"'mabye', a label that no image .* labels are good, maybe: correct the name"):
        ClassifierFitter(data, settings)


def test_temperature_makes_sure_what_is_sure_and_unsure_what_is_not() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 3, generator=random) * 2
    drawn = torch.multinomial(logits.softmax(1), 1, generator=random).squeeze(1)
    targets = torch.nn.functional.one_hot(drawn, 3).float()
    assert temperature(logits * 3, targets, False) == pytest.approx(3, rel=0.15)
    assert temperature(logits / 2, targets, False) == pytest.approx(0.5, rel=0.15)


def test_no_label_is_doubted_where_all_agree() -> None:
    targets = torch.eye(3).repeat(4, 1)
    assert doubted(6 * targets, targets, False) == []


def test_defaults_neither_flip_nor_turn_a_part() -> None:
    """A corner that is dark stays the dark corner, whatever is drawn."""
    image = torch.full((1, 1, 32, 32), 200.0)
    image[:, :, :8, :8] = 20.0
    for seed in range(20):
        changed = augmented(image, Augmentation(), torch.Generator().manual_seed(seed))[0, 0]
        assert float(changed[:6, :6].mean()) < 80
        assert float(changed[-6:].min()) > 120
        assert float(changed[:, -6:].min()) > 120


@pytest.mark.parametrize(
    ("how", "corners"),
    [
        pytest.param(NONE, {(0, 0)}, id="nothing allowed"),
        pytest.param(replace(NONE, flip_horizontal=True), {(0, 0), (0, 1)}, id="left and right"),
        pytest.param(replace(NONE, flip_vertical=True), {(0, 0), (1, 0)}, id="up and down"),
        pytest.param(replace(NONE, quarter_turns=True), {(0, 0), (0, 1), (1, 0), (1, 1)}, id="quarter turns"),
        pytest.param(replace(NONE, shift=0.05, rotation_degrees=5, zoom=0.05), {(0, 0)}, id="small moves"),
    ],
)
def test_only_what_is_allowed_happens(how: Augmentation, corners: set[tuple[int, int]]) -> None:
    image = torch.full((40, 1, 32, 32), 200.0)
    image[:, :, :12, :12] = 20.0
    changed = augmented(image, how, torch.Generator().manual_seed(0))[:, 0]
    assert changed.shape == (40, 32, 32)
    places = {
        divmod(int(torch.stack([q.mean() for h in m.split(16) for q in h.split(16, 1)]).argmin()), 2) for m in changed
    }
    assert places == corners


@pytest.mark.parametrize(
    "build",
    [
        lambda: Augmentation(brightness=3.0),
        lambda: Augmentation(rotation_degrees=-1),
        lambda: augmented(torch.zeros(1, 1, 8, 16), Augmentation(quarter_turns=True), torch.Generator()),
    ],
    ids=["too bright", "negative turn", "quarter turn of an oblong"],
)
def test_changes_that_cannot_be_are_refused(build) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InspectorError, match="got"):
        build()
