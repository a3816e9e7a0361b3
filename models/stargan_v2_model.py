"""StarGAN v2: Choi, Uh, Yoo, Ha 2020, "Diverse Image Synthesis for Multiple Domains"."""

import copy
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import networks
from models.architectures import stargan_v2
from models.architectures.losses import differentiable_twice, r1_penalty
from models.base_model import BaseModel
from models.gan import stargan_v2_sampling as sampling
from models.gan.inputs import require_keys
from models.gan.options import adam
from models.optimization.memory import graph_bytes
from util.base.plugins import import_function
from util.processes.group import drawn_for_all

LATENT, REFERENCE = "latent", "ref"  # where a style comes from
VISUALS = ("source", "reference", "fake_latent", "fake_reference", "cycle")
LOSSES = {"D": ("real", "fake", "reg"), "G": ("adv", "sty", "ds", "cyc")}


class StarGANv2Model(BaseModel):
    """One generator for all domains; styles are drawn, or taken from other images.

    G gives an image x a style s. Styles of a domain y come from F, by random numbers z, or from E,
    by a reference. D judges whether an image is a real one of its domain. The paper's equation 5,

        GAN(D_y(G(x, s))) + lambda_sty |s - E_y(G(x, s))|
        - lambda_ds |G(x, s) - G(x, s')| + lambda_cyc |x - G(G(x, s), E_x(x))|,

    is trained twice with each batch: by styles from F (networks G, F and E learn), and by styles
    from E (G learns). Before both of these D takes its two steps.
    """

    network_options = ("crop_size", "ndf")

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool = True) -> ArgumentParser:
        """Add sizes, and weights of the losses; for test.py, what styles to take."""
        parser.set_defaults(dataset_mode="domains")
        add = parser.add_argument
        add("--latent_dim", type=int, default=16, help="how many random numbers make a style")
        add("--style_dim", type=int, default=64, help="length of a style")
        add("--w_hpf", type=float, default=0.0, help="0: nothing is copied; above, edges of the "
            "source divided by it are, where --masks say so; 1 for faces")  # fmt: skip
        add("--masks", default="", help="MODULE:FUNCTION of yours that tells where edges come from "
            "the source: it makes two masks (N, 1, h, w) of images (N, 3, H, W)")  # fmt: skip
        if not is_train:
            sampling.add_options(parser)
            return parser
        parser.set_defaults(batch_size=8, lr=1e-4, beta1=0.0, ema=0.999)
        parser.set_defaults(total_steps=100_000, decay_steps=0, val_steps=10_000)
        add("--lr_F", "--f_lr", type=float, default=1e-6, help="learning rate of F")
        add("--beta2", type=float, default=0.99, help="how long Adam's squares remember")
        add("--weight_decay", type=float, default=1e-4, help="weight of Adam's L2 term")
        add("--lambda_reg", type=float, default=1.0, help="weight of D's gradient penalty, R1")
        add("--lambda_sty", type=float, default=1.0, help="weight of equation 2: E finds the style")
        add("--lambda_ds", type=float, default=1.0, help="weight of equation 3: styles differ")
        add("--lambda_cyc", type=float, default=1.0, help="weight of equation 4: there and back")
        add("--ds_iter", type=int, default=100_000, help="steps in which --lambda_ds falls to 0")
        add("--ema_start", choices=("paper", "copy"), default="paper", help="what averaged weights "
            "begin with: torch's own initial weights, as for the paper, or a copy of those that "
            "are trained")  # fmt: skip
        return parser

    @staticmethod
    def option_problems(opt: Namespace) -> Iterator[str]:
        """Yield what is wrong with the options."""
        yield from sampling.problems(opt)
        if opt.w_hpf > 0 and not opt.masks:
            yield (
                f"--w_hpf {opt.w_hpf:g} takes edges from the source where masks say so; for faces "
                "they come from a landmark network, which is not part of this project. Give "
                "--masks MODULE:FUNCTION (see docs/stargan_v2.md), or --w_hpf 0."
            )

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.domains: list[str] = opt.domains.split(",")
        steps = [(net, kind) for net in LOSSES for kind in (LATENT, REFERENCE)]
        self.loss_names = [f"{net}_{kind}_{t}" for net, kind in steps for t in LOSSES[net]]
        self.loss_names.append("lambda_ds")
        self.visual_names = [*VISUALS, "sheet"]
        self.model_names = ["G", "F", "E", "D"] if self.isTrain else ["G", "F", "E"]
        self.masks_of = import_function("--masks", opt.masks) if opt.w_hpf > 0 else None

        self._make_networks()
        if not self.isTrain:
            self.sampler = sampling.Sampler(self.netG, self.netF, self.netE, self.domains, opt)
            self.visual_names = ["source", *self.sampler.labels()]
            return
        averaged = {"G": self.netG, "F": self.netF, "E": self.netE}
        starts = copy.deepcopy(averaged)
        for net in (*averaged.values(), self.netD):
            stargan_v2.draw_weights(net.to(self.device))
        self._starts = copy.deepcopy(averaged) if opt.ema_start == "copy" else starts
        self.criterionGAN = networks.GANLoss("vanilla").to(self.device)
        make = partial(adam, opt, beta2=opt.beta2, weight_decay=opt.weight_decay)
        self.optimizer_G, self.optimizer_F = make("G", self.netG), make("F", self.netF)
        self.optimizer_E, self.optimizer_D = make("E", self.netE), make("D", self.netD)
        self.optimizers = [self.optimizer_G, self.optimizer_F, self.optimizer_E, self.optimizer_D]
        self.loss_lambda_ds: float = opt.lambda_ds

    def _make_networks(self) -> None:
        # The order of construction decides which random numbers each network starts from.
        opt, count = self.opt, len(self.domains)
        size, style = opt.crop_size, opt.style_dim
        self.netG = stargan_v2.Generator(size, style, w_hpf=opt.w_hpf, ngf=opt.ngf)
        self.netF = stargan_v2.MappingNetwork(opt.latent_dim, style, count)
        self.netE = stargan_v2.StyleEncoder(size, style, count, ndf=opt.ndf)
        if self.isTrain:
            self.netD = stargan_v2.Discriminator(size, count, ndf=opt.ndf)

    def averaged_networks(self) -> dict[str, nn.Module]:
        """Return what `--ema` averages, and the weights that the averages begin with."""
        return self._starts

    def set_input(self, input: dict[str, Any]) -> None:
        """Move a batch to the device, and draw the random numbers of its styles."""
        keys = {"A", "A_domain", "A_paths", *(["B", "B_domain"] if self.isTrain else [])}
        require_keys(self, input, keys, "images of several domains", "--dataset_mode domains")
        # Images (N, 3, H, W) in [-1, 1], labels (N,)
        self.image_paths = input["A_paths"]
        self.fake_trained: Tensor | None = None
        self.is_translated = False
        self.source, self.source_domain = self._moved(input["A"]), self._moved(input["A_domain"])
        self.masks = self._masks(self.source)
        if not self.isTrain:  # (N, domains, outputs, 3, H, W), unless styles are drawn
            self.references = self._moved(input.get("references", torch.empty(1)))
            return
        self.reference, self.domain = self._moved(input["B"]), self._moved(input["B_domain"])
        self.reference_2 = self._moved(input.get("B2", input["B"]))  # another one of its domain
        size = len(self.source), self.opt.latent_dim
        self.z, self.z_2 = (self._moved(drawn_for_all(torch.randn, size)) for _ in range(2))

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _masks(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.masks_of is None:
            return None
        with torch.no_grad():
            first, second = self.masks_of(images)
        return first, second

    def forward(self) -> None:
        """Translate the sources into the styles of the references and back; test.py, as asked."""
        if not self.isTrain:
            name = Path(self.image_paths[0]).stem
            source = sampling.Source(self.source, self.masks, name)
            vars(self).update(self.sampler.translate(source, self.references[0]))
            return
        self.fake_reference = self.netG(self.source, self._style(REFERENCE), self.masks)
        self.cycle, self.is_translated = self._back(self.fake_reference), True

    def optimize_parameters(self) -> None:
        """Take four steps: D by both kinds of styles, then the others by both."""
        self.step_D(LATENT)
        self.step_D(REFERENCE)
        self.step_G(LATENT, learners="GFE")
        self.step_G(REFERENCE, learners="G")
        if self.loss_lambda_ds > 0:
            self.loss_lambda_ds -= self.opt.lambda_ds / self.opt.ds_iter

    def step_D(self, kind: str) -> None:
        """Let D learn equation 1, with the penalty R1 (Mescheder et al. 2018, equation 9)."""
        with torch.no_grad():
            fake = self.netG(self.source, self._style(kind), self.masks)
        self._let_learn("D")
        real = self.source.detach().requires_grad_()
        with differentiable_twice(self.netD):
            of_real = self.netD(real, self.source_domain)
        terms = {
            "real": self.criterionGAN(of_real, True),
            "fake": self.criterionGAN(self.netD(fake, self.domain), False),
            "reg": r1_penalty(of_real, real),
        }
        loss = terms["real"] + terms["fake"] + self.opt.lambda_reg * terms["reg"]
        self._step(f"D_{kind}", terms, loss, "D")

    def step_G(self, kind: str, learners: str) -> None:
        """Let these networks learn equation 5."""
        self._let_learn(learners)
        terms, loss = self.equation_5(kind)
        self.loss_G = loss.detach()
        self._step(f"G_{kind}", terms, loss, learners)

    def equation_5(self, kind: str) -> tuple[dict[str, Tensor], Tensor]:
        """Return the paper's equations 1 to 4 by name, and equation 5, their weighted sum."""
        style = self._style(kind)
        fake = self.netG(self.source, style, self.masks)
        with torch.no_grad():  # only `fake` learns to differ
            other = self.netG(self.source, self._style(kind, second=True), self.masks)
        terms = {
            "adv": self.criterionGAN(self.netD(fake, self.domain), True),
            "sty": (self.netE(fake, self.domain) - style).abs().mean(),
            "ds": (fake - other).abs().mean(),
            "cyc": (self._back(fake) - self.source).abs().mean(),
        }
        opt, lambda_ds = self.opt, self.loss_lambda_ds
        loss = terms["adv"] + opt.lambda_sty * terms["sty"] - lambda_ds * terms["ds"]
        self.fake_trained = fake.detach()
        return terms, loss + opt.lambda_cyc * terms["cyc"]

    def _let_learn(self, learners: str) -> None:
        """Compute gradients of the weights of these networks only."""
        for name in self.model_names:
            self.set_requires_grad(getattr(self, f"net{name}"), name in learners)

    def _step(self, which: str, terms: dict[str, Tensor], loss: Tensor, learners: str) -> None:
        """Note the losses, and let each of these networks take a step."""
        for name, value in terms.items():
            setattr(self, f"loss_{which}_{name}", value.detach())
        optimizers = {name: getattr(self, f"optimizer_{name}") for name in learners}
        for optimizer in optimizers.values():
            self._optimization.clear(optimizer)
        self._optimization.backward(loss, *optimizers.values())
        for name, optimizer in optimizers.items():
            self._optimization.step(optimizer, getattr(self, f"net{name}"))

    def _style(self, kind: str, *, second: bool = False) -> Tensor:
        """Return the styles, (N, style_dim), that the sources are to get."""
        if kind == LATENT:
            style: Tensor = self.netF(self.z_2 if second else self.z, self.domain)
        else:
            style = self.netE(self.reference_2 if second else self.reference, self.domain)
        return style

    def _back(self, fake: Tensor) -> Tensor:
        """Return made images in the style that their sources had."""
        style = self.netE(self.source, self.source_domain)
        back: Tensor = self.netG(fake, style, self._masks(fake))
        return back

    def compute_visuals(self) -> None:
        """Make the images to show of a batch while training."""
        if not self.isTrain:
            return
        with torch.no_grad():
            if not self.is_translated:
                self.forward()
            self.fake_latent = self.netG(self.source, self._style(LATENT), self.masks)
            self.sheet = sampling.batch_sheet(
                (self.netG, self.netF, self.netE), self.source, self.masks,
                self.reference, self.domain, self.z[:1], self.domains,
            )  # fmt: skip
        # While averaged weights begin to follow, it helps to see what those that are trained make.
        names = VISUALS if self.fake_trained is None else (*VISUALS, "fake_trained")
        for name in names:  # G does not limit its values
            setattr(self, name, getattr(self, name).clamp(-1, 1))
        self.visual_names = [*names, "sheet"]

    def memory_per_image(self) -> int:
        """Return about how many bytes the graph of a step takes for each image of a batch."""
        toy = copy.copy(self)
        toy.device, toy.masks_of = torch.device("meta"), None  # where sizes alone are computed
        with toy.device:
            toy._make_networks()
            toy.criterionGAN = networks.GANLoss("vanilla")

        def equation_5(count: int) -> Tensor:
            image = torch.empty(count, 3, *[self.opt.crop_size] * 2)
            label = torch.zeros(count, dtype=torch.long)
            toy.set_input(
                {"A": image, "B": image, "A_domain": label, "B_domain": label, "A_paths": []}
            )
            return toy.equation_5(LATENT)[1]

        return graph_bytes(lambda: equation_5(2)) - graph_bytes(lambda: equation_5(1))

    def sheets(self) -> Iterator[tuple[str, Any]]:
        """Yield what test.py shows of all images together; see `Sampler.sheets`."""
        return self.sampler.sheets()

    def outputs_by_domain(self) -> tuple[str, dict[str, list[str]]]:
        """Return the domain of the source, and what labels the images made for each domain have."""
        return self.domains[int(self.source_domain[0])], self.sampler.outputs()

    def extra_state(self) -> dict[str, float]:
        """Return what an exact resume needs besides."""
        return {"lambda_ds": self.loss_lambda_ds}

    def load_extra_state(self, state: dict[str, float]) -> None:
        """Take back what `extra_state` returned."""
        self.loss_lambda_ds = state["lambda_ds"]

    def validation_pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what went there and back with where it came from."""
        return {"cycle": (self.cycle, self.source)} if self.isTrain else {}

    def validation_sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what was made and real images of the same domain."""
        return {self.domains[int(self.domain[0])]: (self.fake_reference, self.reference)}
