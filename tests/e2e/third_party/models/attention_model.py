# ruff: noqa
# fmt: off
import itertools
import torch
from models.cycle_gan_model import CycleGANModel
from models.attention_blocks import define_attention_G


class AttentionModel(CycleGANModel):
    """CycleGAN with attention in the blocks of its generators, and one more loss."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser = CycleGANModel.modify_commandline_options(parser, is_train)
        if is_train:
            parser.add_argument("--lambda_grad", type=float, default=1.0)
        return parser

    def __init__(self, opt):
        CycleGANModel.__init__(self, opt)
        self.netG_A = define_attention_G(opt.input_nc, opt.output_nc, opt.ngf, opt.norm, opt.init_type, opt.init_gain, self.gpu_ids)
        self.netG_B = define_attention_G(opt.output_nc, opt.input_nc, opt.ngf, opt.norm, opt.init_type, opt.init_gain, self.gpu_ids)
        if self.isTrain:
            self.loss_names += ["grad"]
            self.optimizer_G = torch.optim.Adam(itertools.chain(self.netG_A.parameters(), self.netG_B.parameters()), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizers = [self.optimizer_G, self.optimizer_D]

    def backward_G(self):
        CycleGANModel.backward_G(self)
        edges = lambda x: x[:, :, 1:] - x[:, :, :-1]
        fake_B = self.netG_A(self.real_A)
        self.loss_grad = (edges(fake_B) - edges(self.real_A)).abs().mean() * self.opt.lambda_grad
        self.loss_grad.backward()
