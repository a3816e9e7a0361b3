# ruff: noqa
# fmt: off
"""A helper file beside the models: no model itself."""
import torch
import torch.nn as nn
from models.networks import ResnetBlock, ResnetGenerator, get_norm_layer, init_net


class SelfAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.query_conv = nn.Conv2d(dim, max(1, dim // 8), 1)
        self.key_conv = nn.Conv2d(dim, max(1, dim // 8), 1)
        self.value_conv = nn.Conv2d(dim, dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        n, c, h, w = x.size()
        query = self.query_conv(x).view(n, -1, h * w).permute(0, 2, 1)
        energy = torch.bmm(query, self.key_conv(x).view(n, -1, h * w))
        value = self.value_conv(x).view(n, -1, h * w)
        return self.gamma * torch.bmm(value, torch.softmax(energy, -1).permute(0, 2, 1)).view(n, c, h, w)


class AttentionBlock(ResnetBlock):
    def build_conv_block(self, dim, padding_type, norm_layer, use_dropout, use_bias):
        block = super().build_conv_block(dim, padding_type, norm_layer, use_dropout, use_bias)
        return nn.Sequential(*block, SelfAttention(dim))


def define_attention_G(input_nc, output_nc, ngf, norm, init_type, init_gain, gpu_ids):
    norm_layer = get_norm_layer(norm)
    net = ResnetGenerator(input_nc, output_nc, ngf, norm_layer, n_blocks=2)
    for i, layer in enumerate(net.model):
        if isinstance(layer, ResnetBlock):
            net.model[i] = AttentionBlock(ngf * 4, "reflect", norm_layer, False, True)
    return init_net(net, init_type, init_gain, gpu_ids)
