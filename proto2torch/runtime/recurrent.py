"""Recurrent layers over sequences (T, N, …); cont (T, N) is 0 where one begins."""

import torch
import torch.nn.functional as F
from torch import nn


def carried_state(state, rows):
    """What the last forward left for `rows` sequences; zeros where it had fewer."""
    enough = len(state) >= rows
    return state[:rows] if enough else state.new_zeros(rows, state.shape[1])


def state_to_carry(state, last):
    """`last` for the next forward, and behind it the sequences that were no part."""
    return torch.cat([last.detach(), state[len(last) :]])


class LSTMUnit(torch.autograd.Function):
    """c = f c_prev + i g and h = o tanh(c), of gates i, f, o, g; f includes cont."""

    @staticmethod
    def forward(ctx, c_prev, gates, cont):
        i, f, o, g = gates.chunk(4, -1)
        i, f, o, g = i.sigmoid(), cont * f.sigmoid(), o.sigmoid(), g.tanh()
        c = f * c_prev + i * g
        squashed = c.tanh()
        ctx.save_for_backward(c_prev, i, f, o, g, squashed)
        return c, o * squashed

    @staticmethod
    def backward(ctx, dc, dh):
        c_prev, i, f, o, g, squashed = ctx.saved_tensors
        dc = dc + dh * o * (1 - squashed * squashed)
        di, df = dc * g * i * (1 - i), dc * c_prev * f * (1 - f)
        do, dg = dh * squashed * o * (1 - o), dc * i * (1 - g * g)
        return dc * f, torch.cat([di, df, do, dg], -1), None


lstm_unit = LSTMUnit.apply


class LSTM(nn.Module):
    """Caffe's LSTM: gates in the order i, f, o, g, and one bias.

    The state of one forward is where the next begins, as far as cont lets it; no
    gradient crosses. Given h_0 and c_0 (1, N, H), it begins there, and the last state
    is given too.
    """

    def __init__(self, features, hidden, static=0):
        super().__init__()
        self.W_xc = nn.Parameter(torch.zeros(4 * hidden, features))
        self.b_c = nn.Parameter(torch.zeros(4 * hidden))
        if static:
            self.W_xc_static = nn.Parameter(torch.zeros(4 * hidden, static))
        self.W_hc = nn.Parameter(torch.zeros(4 * hidden, hidden))
        self.register_buffer("h", torch.zeros(0, hidden), persistent=False)
        self.register_buffer("c", torch.zeros(0, hidden), persistent=False)

    def forward(self, x, cont, x_static=None, h_0=None, c_0=None):
        gates = F.linear(x.flatten(2), self.W_xc, self.b_c)
        if x_static is not None:
            gates = gates + F.linear(x_static.flatten(1), self.W_xc_static)
        if h_0 is None:
            h, c = carried_state(self.h, x.shape[1]), carried_state(self.c, x.shape[1])
        else:
            h, c = h_0[0].detach(), c_0[0].detach()
        outputs = []
        for gate, keep in zip(gates, cont[..., None]):
            c, h = lstm_unit(c, gate + F.linear(keep * h, self.W_hc), keep)
            outputs.append(h)
        y = torch.stack(outputs)
        if h_0 is not None:
            return y, h[None].detach(), c[None].detach()
        self.h, self.c = state_to_carry(self.h, h), state_to_carry(self.c, c)
        return y


class RNN(nn.Module):
    """Caffe's RNN: h = tanh(W_hh h + W_xh x + b_h), its output tanh(W_ho h + b_o).

    The state of one forward is where the next begins, as far as cont lets it; no
    gradient crosses. Given h_0 (1, N, H), it begins there, and the last state is given
    too.
    """

    def __init__(self, features, hidden, static=0):
        super().__init__()
        self.W_xh = nn.Parameter(torch.zeros(hidden, features))
        self.b_h = nn.Parameter(torch.zeros(hidden))
        if static:
            self.W_xh_static = nn.Parameter(torch.zeros(hidden, static))
        self.W_hh = nn.Parameter(torch.zeros(hidden, hidden))
        self.W_ho = nn.Parameter(torch.zeros(hidden, hidden))
        self.b_o = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("h", torch.zeros(0, hidden), persistent=False)

    def forward(self, x, cont, x_static=None, h_0=None):
        inner = F.linear(x.flatten(2), self.W_xh, self.b_h)
        if x_static is not None:
            inner = inner + F.linear(x_static.flatten(1), self.W_xh_static)
        h = carried_state(self.h, x.shape[1]) if h_0 is None else h_0[0].detach()
        states = []
        for step, keep in zip(inner, cont[..., None]):
            h = torch.tanh(F.linear(keep * h, self.W_hh) + step)
            states.append(h)
        y = torch.tanh(F.linear(torch.stack(states), self.W_ho, self.b_o))
        if h_0 is not None:
            return y, h[None].detach()
        self.h = state_to_carry(self.h, h)
        return y
