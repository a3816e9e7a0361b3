"""util/scores: distances with known answers, intervals, the cache, and where networks come from."""

import hashlib
import math
import os
import pickle
import sys
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.checkpoints import save_state, save_untrained_inception
from util.base.errors import UserError
from util.scores import networks
from util.scores.distances import (
    bootstrap_interval,
    frechet_distance,
    kernel_distance,
    squared_mmd,
)
from util.scores.feature_cache import FeatureCache, default_folder, key_of
from util.scores.networks import BACKBONES, load_inception, load_lpips


def normal(count: int, dimensions: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=random, dtype=torch.float64)


def with_moments(mean: Tensor, covariance: Tensor, count: int, seed: int) -> Tensor:
    """Return vectors that have exactly this sample mean and covariance."""
    x = normal(count, len(mean), seed)
    x = x - x.mean(dim=0)
    lower = torch.linalg.cholesky(x.T @ x / (count - 1))
    white = torch.linalg.solve_triangular(lower, x.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def random_covariance(dimensions: int, seed: int) -> Tensor:
    x = normal(2 * dimensions, dimensions, seed)
    return x.T @ x / dimensions


# ---- distances ----------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_with_diagonal_covariances() -> None:
    means = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 3.0]], dtype=torch.float64)
    variances = torch.tensor([[1.0, 4.0, 9.0], [4.0, 4.0, 1.0]], dtype=torch.float64)
    a, b = (
        with_moments(mean, variance.diag(), 20, seed)
        for seed, (mean, variance) in enumerate(zip(means, variances, strict=True))
    )
    # |m|^2 = 1 + 4, and (1 - 2)^2 + 0 + (3 - 1)^2 of the deviations
    assert frechet_distance(a, b) == pytest.approx(10, rel=1e-12)


def test_frechet_distance_of_gaussians_whose_covariances_do_not_commute() -> None:
    first, second = random_covariance(6, seed=1), random_covariance(6, seed=2)
    a = with_moments(torch.zeros(6, dtype=torch.float64), first, 50, seed=3)
    b = with_moments(torch.full((6,), 0.5, dtype=torch.float64), second, 80, seed=4)
    roots = np.sqrt(np.linalg.eigvals((first @ second).numpy()).real)  # of a product: not symmetric
    wanted = 6 * 0.25 + float(first.trace() + second.trace()) - 2 * roots.sum()
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("count", [10, 200])  # fewer and more than dimensions
def test_frechet_distance_of_a_moved_copy_is_the_way_squared(count: int) -> None:
    a = normal(count, 40, seed=5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, a + 0.5) == pytest.approx(40 * 0.25, rel=1e-10)
    assert frechet_distance(a, -a) == pytest.approx(4 * float(a.mean(dim=0).square().sum()))


def test_squared_mmd_worked_out_by_hand() -> None:
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    # within a: k(0,1) = 1; within b: k(0,2) = 1; across: k = 1, 1, 1 and (1*2 + 1)^3 = 27
    assert squared_mmd(a, b) == pytest.approx(1 + 1 - 2 * 30 / 4)
    a = torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 2.0]])
    b = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    # x.y / 2 within a: 0, 1, -1, so k = 1, 8, 0; within b: 0; across: 1, 1, 0 with the first of b
    assert squared_mmd(a, b) == pytest.approx(9 / 3 + 1 - 2 * (8 + 8 + 1 + 3) / 6)


def test_squared_mmd_is_unbiased() -> None:
    found = torch.tensor([
        squared_mmd(normal(20, 4, seed=seed), normal(30, 4, seed=1000 + seed))
        for seed in range(400)
    ])  # fmt: skip
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean())) < 4 * error
    assert float(found.min()) < 0 < float(found.max())


def test_kernel_distance_agrees_with_all_images_and_knows_its_error() -> None:
    found = [
        kernel_distance(normal(80, 8, seed), normal(80, 8, 500 + seed) + 0.4, subsets=40, seed=seed)
        for seed in range(40)
    ]
    assert {one.subset_size for one in found} == {40}
    means = torch.tensor([one.mean for one in found])
    whole = [
        squared_mmd(normal(80, 8, seed), normal(80, 8, 500 + seed) + 0.4) for seed in range(40)
    ]
    assert float((means - torch.tensor(whole)).mean()) == pytest.approx(0, abs=0.02)
    scatter = float(means.std())
    said = sum(one.standard_error for one in found) / len(found)
    assert 0.7 * scatter < said < 1.8 * scatter


def test_kernel_distance_is_the_same_for_the_same_seed() -> None:
    a, b = normal(30, 4, seed=6), normal(30, 4, seed=7)
    assert kernel_distance(a, b, seed=3) == kernel_distance(a, b, seed=3)
    assert kernel_distance(a, b, seed=3).mean != kernel_distance(a, b, seed=4).mean


def test_too_few_images_are_an_error_with_numbers() -> None:
    with pytest.raises(UserError, match="1 and 5 images: FID and KID need 2"):
        frechet_distance(normal(1, 4, seed=8), normal(5, 4, seed=9))
    with pytest.raises(UserError, match="subsets of 5 images, but there are only 5"):
        kernel_distance(normal(5, 4, seed=8), normal(9, 4, seed=9), subset_size=5)
    with pytest.raises(UserError, match="only 2"):
        kernel_distance(normal(2, 4, seed=8), normal(9, 4, seed=9))


def test_distances_equal_those_of_torch_fidelity() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    a, b = normal(60, 12, seed=10).float(), normal(50, 12, seed=11).float().square()
    statistics = [fid.fid_features_to_statistics(x.double()) for x in (a, b)]
    wanted = fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert frechet_distance(a, b) == pytest.approx(next(iter(wanted.values())), rel=1e-8)
    a = a[:50]
    wanted = kid.kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=50, verbose=False)
    assert squared_mmd(a, b) == pytest.approx(wanted[kid.KEY_METRIC_KID_MEAN], rel=1e-5)


@pytest.mark.slow  # for its import
def test_distances_equal_those_of_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = normal(60, 12, seed=12), normal(60, 12, seed=13) * 1.5 + 0.3
    moments = [moment for x in (a, b) for moment in (x.mean(dim=0), x.T.cov())]
    assert frechet_distance(a, b) == pytest.approx(float(fid._compute_fid(*moments)), rel=1e-8)
    assert squared_mmd(a, b) == pytest.approx(float(kid.poly_mmd(a, b)), rel=1e-8)


# ---- intervals ----------------------------------------------------------------------------


def test_the_interval_is_that_of_the_normal_distribution_for_many_values() -> None:
    values = normal(400, 1, seed=14).flatten() * 3 + 7
    low, high = bootstrap_interval(values) or (0.0, 0.0)
    reach = 1.96 * float(values.std()) / 20
    assert low == pytest.approx(float(values.mean()) - reach, abs=0.05)
    assert high == pytest.approx(float(values.mean()) + reach, abs=0.05)


def test_the_interval_is_the_same_for_the_same_seed_in_parcels_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = normal(30, 1, seed=15).flatten()
    first = bootstrap_interval(values)
    assert bootstrap_interval(values) == first
    assert bootstrap_interval(values, seed=1) != first
    monkeypatch.setattr("util.scores.distances.AT_ONCE", 100)
    assert bootstrap_interval(values) == first


def test_intervals_leave_out_infinite_values_and_need_two_others() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    with_infinite = torch.tensor([1.0, math.inf, 2.0, 4.0])
    assert bootstrap_interval(with_infinite) == bootstrap_interval(values)
    assert bootstrap_interval(torch.tensor([1.0, math.inf])) is None
    assert bootstrap_interval(torch.tensor([])) is None


# ---- the cache ----------------------------------------------------------------------------


def test_the_cache_gives_back_what_was_put_there(tmp_path: Path) -> None:
    vector = normal(5, 1, seed=16).flatten().float()
    FeatureCache(tmp_path / "new").put(key_of("a"), vector)
    cache = FeatureCache(tmp_path / "new")
    found = cache.get(key_of("a"))
    assert found is not None
    assert torch.equal(found, vector)
    found += 1  # a copy, not the file
    assert cache.get(key_of("b")) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "renamed", "folder"])
def test_a_damaged_entry_counts_as_missing(tmp_path: Path, damage: str) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key_of("a"), torch.arange(8.0))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    content = file.read_bytes()
    key = key_of("a")
    if damage == "cut":
        file.write_bytes(content[:-4])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "changed":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "renamed":
        key = key_of("b")
        (tmp_path / key[:2]).mkdir(exist_ok=True)
        file.rename(tmp_path / key[:2] / key[2:])
    else:
        file.unlink()
        file.mkdir()
    assert cache.get(key) is None


def test_no_folder_means_no_cache() -> None:
    cache = FeatureCache(None)
    cache.put(key_of("a"), torch.zeros(2))
    assert cache.get(key_of("a")) is None


def test_a_cache_that_cannot_be_written_warns_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = FeatureCache(tmp_path / "file" / "cache")
    cache.put(key_of("a"), torch.zeros(2))
    cache.put(key_of("b"), torch.zeros(2))
    said = capsys.readouterr().err
    assert said.count("features are not kept") == 1
    assert str(tmp_path / "file") in said


def test_keys_tell_their_parts_apart() -> None:
    keys = {key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("ab", "c", "")}
    assert len(keys) == 4


def test_the_cache_is_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder().is_relative_to(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder().is_relative_to(Path.home() / ".cache")


# ---- networks -----------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return torch's folder of downloaded weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights of Inception."""
    pytest.importorskip("torch_fidelity")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    save_untrained_inception(path)
    return path


def squeezenet() -> dict[str, Tensor]:
    """Return random weights of LPIPS's smallest backbone, under torchvision's names."""
    from torchvision.models import squeezenet1_1

    state: dict[str, Tensor] = squeezenet1_1(weights=None).state_dict()
    return state


def images(count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 40, 36, generator=random)


def test_missing_weights_of_inception_are_one_line_of_advice(hub: Path) -> None:
    pytest.importorskip("torch_fidelity")
    with pytest.raises(UserError) as caught:
        load_inception()
    said = str(caught.value)
    assert "\n" not in said
    for part in (networks.INCEPTION.url, "--inception_weights FILE"):
        assert part in said


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("net", BACKBONES)
def test_missing_weights_of_lpips_are_one_line_of_advice(net: str) -> None:
    pytest.importorskip("lpips")
    with pytest.raises(UserError) as caught:
        load_lpips(net=net)
    said = str(caught.value)
    assert "\n" not in said
    for part in (BACKBONES[net].url, "--lpips_weights FILE"):
        assert part in said


@pytest.mark.parametrize(
    ("load", "module", "package"),
    [(load_inception, "torch_fidelity", "torch-fidelity"), (load_lpips, "lpips", "lpips")],
)
def test_missing_packages_are_named_with_the_extra(
    load: Any, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if not installed
    with pytest.raises(UserError, match=rf"{package}: uv sync --extra metrics"):
        load()


def test_a_path_to_nothing_is_named(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    with pytest.raises(UserError, match=r"--lpips_weights .*gone.pth: there is no such"):
        load_lpips(tmp_path / "gone.pth")


def test_published_files_carry_the_start_of_their_digest() -> None:
    assert networks.INCEPTION.digits == "6726825d"
    assert {name: one.digits for name, one in BACKBONES.items()} == {
        "alex": "7be5be79",
        "vgg": "397923af",
        "squeeze": "b8a52dc0",
    }


def test_backbones_are_where_torchvision_has_them() -> None:
    from torchvision import models

    weights = {
        "alex": models.AlexNet_Weights.IMAGENET1K_V1,
        "vgg": models.VGG16_Weights.IMAGENET1K_V1,
        "squeeze": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
    }
    assert {name: one.url for name, one in BACKBONES.items()} == {
        name: one.url for name, one in weights.items()
    }


def test_inception_gives_features_and_tells_its_weights(inception_file: Path) -> None:
    net = load_inception(inception_file)
    batch = images(2, seed=1).mul(255).byte()
    features = net(batch)
    assert features.shape == (2, 2048)
    assert not features.requires_grad
    assert torch.allclose(features[1:], net(batch[1:]), atol=1e-5)
    assert net.identity.file == "inception.pth"
    assert net.identity.sha256 == hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert not net.identity.published
    assert "torch-fidelity" in net.identity.network


@pytest.mark.slow  # for the file, 109 MB
def test_torchvisions_inception_is_known_by_its_weights_and_said_to_be_on_another_scale(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch_fidelity")
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False).eval()
    save_state(network.state_dict(), tmp_path / "google.pth")
    net = load_inception(tmp_path / "google.pth")
    assert "on another scale" in net.identity.remark
    assert not net.identity.published
    assert net.sizes((64, 48)) == [(64, 48), (299, 299)]
    pooled: list[Tensor] = []
    network.avgpool.register_forward_hook(lambda _, __, out: pooled.append(out.flatten(1)))
    batch = torch.rand(2, 3, 299, 299).mul(255).byte()
    mean, deviation = (torch.tensor(n).view(3, 1, 1) for n in (
        [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ))  # fmt: skip
    with torch.no_grad():
        network((batch / 255 - mean) / deviation)
    features = net(batch)
    assert features.shape == (2, 2048)
    assert torch.allclose(features, pooled[0], atol=1e-5)
    assert net(batch[:, :, :64, :64]).shape == (2, 2048)  # enlarged


def test_weights_in_torchs_cache_are_found(inception_file: Path, hub: Path) -> None:
    os.link(inception_file, hub / networks.INCEPTION.file)
    assert load_inception().identity.file == networks.INCEPTION.file


def test_lpips_equals_the_package_with_the_same_weights(tmp_path: Path) -> None:
    lpips = pytest.importorskip("lpips")
    state = squeezenet()
    save_state(state, tmp_path / "weights.pth")
    net = load_lpips(tmp_path / "weights.pth", net="squeeze")
    with pytest.warns(UserWarning, match="deprecated"):
        wanted = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    slices = [getattr(wanted.net, f"slice{number}") for number in range(1, 8)]
    for module in slices:  # by the numbers of torchvision's layers, which are the children's names
        for number, layer in module.named_children():
            start = f"features.{number}."
            inside = {key.removeprefix(start): value for key, value in state.items()
                      if key.startswith(start)}  # fmt: skip
            layer.load_state_dict(inside)
    a, b = images(2, seed=2), images(2, seed=3)
    with torch.no_grad():
        expected = wanted(a, b, normalize=True).flatten()
    found = net(a, b)
    assert found.shape == (2,)
    assert torch.allclose(found, expected, atol=1e-6)
    assert (found > 0).all()
    assert net(a, a).tolist() == [0, 0]
    assert not net.identity.published


def test_lpips_among_images_is_the_mean_over_all_pairs(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    save_state(squeezenet(), tmp_path / "weights.pth")
    net = load_lpips(tmp_path / "weights.pth", net="squeeze")
    batch = images(4, seed=6)
    pairs = [net(batch[i : i + 1], batch[j : j + 1]) for i, j in combinations(range(4), 2)]
    assert torch.allclose(net.among(batch), torch.cat(pairs).mean().view(1), rtol=1e-5)
    assert net.among(batch[:1].repeat(3, 1, 1, 1)).tolist() == [0]
    with pytest.raises(UserError, match="17x17 and more; there is one of 40x16"):
        net.among(torch.zeros(2, 3, 16, 40))


@pytest.mark.slow  # for the file, 240 MB
def test_lpips_is_the_formula_of_the_paper(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    from torchvision.models import alexnet

    backbone = alexnet(weights=None).eval()
    save_state(backbone.state_dict(), tmp_path / "weights.pth")
    net = load_lpips(tmp_path / "weights.pth")
    a, b = (images(1, seed=seed) for seed in (7, 8))
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x = torch.cat([a, b]) * 2 - 1
    x, total, weights = (
        (x - shift.view(3, 1, 1)) / scale.view(3, 1, 1),
        torch.zeros(1),
        net.net.lins,
    )
    with torch.no_grad():
        for layer in backbone.features[:-1]:
            x = layer(x.clone())
            if isinstance(layer, torch.nn.ReLU):
                unit = x / (x.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()
                weight = weights[0].model[-1].weight.view(-1, 1, 1)
                total += (weight * (unit[0] - unit[1]).square()).sum(dim=0).mean()
                weights = weights[1:]
    assert torch.allclose(net(a, b), total, rtol=1e-4)


def test_lpips_says_which_images_are_too_small(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    save_state(squeezenet(), tmp_path / "weights.pth")
    net = load_lpips(tmp_path / "weights.pth", net="squeeze")
    fitting = torch.zeros(1, 3, networks.SMALLEST_SIDE["squeeze"], 17)
    assert net(fitting, fitting).tolist() == [0]
    with pytest.raises(UserError, match="17x17 and more; there is one of 40x16"):
        net.check(torch.zeros(3, 16, 40))


class Hostile:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["TEST_TRAP"],)


@pytest.mark.parametrize("load", [load_inception, load_lpips])
@pytest.mark.parametrize("content", ["hostile", "text", "other"])
def test_files_that_are_no_such_weights_are_refused_without_running_them(
    load: Any, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch_fidelity")
    pytest.importorskip("lpips")
    monkeypatch.setenv("TEST_TRAP", str(tmp_path / "sprung"))
    file = tmp_path / "weights.pth"
    if content == "hostile":
        buffer = BytesIO()
        torch.save({"fc.weight": Hostile()}, buffer, pickle_module=pickle)  # noqa: TID251
        file.write_bytes(buffer.getvalue())
    elif content == "text":
        file.write_text("these are no weights")
    else:
        save_state({"fc.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="weights.pth"):
        load(file)
    assert not (tmp_path / "sprung").exists()


def test_weights_that_give_nonsense_are_told(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    state = squeezenet()
    state["features.0.weight"][:] = math.nan
    save_state(state, tmp_path / "weights.pth")
    net = load_lpips(tmp_path / "weights.pth", net="squeeze")
    with pytest.raises(UserError, match="weights.pth gives values that are not finite"):
        net(images(1, seed=4), images(1, seed=5))
