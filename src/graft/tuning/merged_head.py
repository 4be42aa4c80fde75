"""Several heads on the same features as one ordinary head, whose logits are the mean of theirs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from graft.models.head import Head
from graft.training.defaults import DROPOUT_HIDDEN
from graft.tuning.candidate import Members


def one_head(
    members: Members,
    columns: Sequence[int],
    states: Sequence[Sequence[Tensor]],
    mean: Tensor,
    std: Tensor,
    dropout_in: float,
) -> Head:
    """The ordinary head whose logits are the mean of these heads' logits: exact, not an
    approximation. A linear head alone stays linear; beside others a linear logit z is carried
    through the hidden layer as relu(z) - relu(-z).
    """
    width, classes = len(mean), len(states[0][-1])
    count = len(members)
    if count == 1 or all(not one.hidden for one in members):
        hidden = members[0].hidden
        head = Head(width, classes, hidden, dropout_in, DROPOUT_HIDDEN)
        if not hidden:
            weight, bias = torch.zeros(classes, width), torch.zeros(classes)
            for column, state in zip(columns, states, strict=True):
                weight[:, column:] += state[0] / count
                bias += state[1] / count
            _set(head, [weight, bias])
        else:
            weight = torch.zeros(hidden, width)
            weight[:, columns[0] :] = states[0][0]
            _set(head, [weight, *states[0][1:]])
    else:
        head = _stacked(members, columns, states, width, classes, dropout_in)
    head.standardize(mean, std)
    return head.eval()


def _stacked(
    members: Members,
    columns: Sequence[int],
    states: Sequence[Sequence[Tensor]],
    width: int,
    classes: int,
    dropout_in: float,
) -> Head:
    first, biases, last = [], [], []
    out = torch.zeros(classes)
    for one, column, state in zip(members, columns, states, strict=True):
        weight = torch.zeros(len(state[0]), width)
        weight[:, column:] = state[0]
        if one.hidden:
            first.append(weight)
            biases.append(state[1])
            last.append(state[2])
            out += state[3]
        else:
            first += [weight, -weight]
            biases += [state[1], -state[1]]
            last.append(torch.cat([torch.eye(classes), -torch.eye(classes)], 1))
    hidden = sum(map(len, first))
    head = Head(width, classes, hidden, dropout_in, DROPOUT_HIDDEN)
    count = len(members)
    _set(head, [torch.cat(first), torch.cat(biases), torch.cat(last, 1) / count, out / count])
    return head


def _set(head: Head, values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(head.parameters(), values, strict=True):
            parameter.copy_(value)
