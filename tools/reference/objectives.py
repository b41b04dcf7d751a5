"""The losses that learn from preferences, and what is logged of them, of one micro-batch.

`[rows]` below is the number of pairs, or of rated answers. A loss is the mean over the rows of a micro-batch, but a negative
log-likelihood the mean over its tokens.
"""

import torch
from torch.nn.functional import logsigmoid, sigmoid
from torch.nn.utils.rnn import pad_sequence


class Scores:
    """What a model makes of sequences, padded at the right: [rows, tokens - 1] each, because the first is never predicted.

    `logps` are the log-probabilities of all tokens, `labelled` tells those of answers, `real` those that are no padding.
    `lengths` [rows] counts the tokens of each answer, one that comes first too.
    """

    def __init__(self, model, sequences, padding):
        ids = padded([sequence["input_ids"] for sequence in sequences], padding)
        labelled = padded([sequence["labelled"] for sequence in sequences], 0)
        real = padded([[1] * len(sequence["input_ids"]) for sequence in sequences], 0)
        logits = model(input_ids=ids, attention_mask=real, use_cache=False).logits[:, :-1]
        distribution = logits.log_softmax(-1)
        self.logps = distribution.gather(-1, ids[:, 1:, None]).squeeze(-1)
        self.labelled, self.real = labelled[:, 1:].bool(), real[:, 1:].bool()
        self.lengths = labelled.sum(1)
        self.tokens = int(real.sum())
        self.entropy = -(distribution.exp() * distribution).sum(-1).detach()
        self.mean_logits = logits.mean(-1).detach()
        self.is_best = (logits.argmax(-1) == ids[:, 1:]).float()

    @property
    def sums(self):
        """The log-probability of each answer."""
        return (self.logps * self.labelled).sum(1)

    @property
    def means(self):
        """The mean log-probability of a token of each answer, of those that are predicted."""
        return self.sums / self.labelled.sum(1)

    def mean(self, values, rows, of=None):
        """The mean of values [rows, tokens - 1] over all tokens of some rows' answers, or over those that `of` tells."""
        return values[rows][(self.labelled if of is None else of)[rows]].mean()


def padded(rows, value):
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def smoothed(x, smoothing):
    return -(1 - smoothing) * logsigmoid(x) - smoothing * logsigmoid(-x)


def rewards_of_pairs(chosen, rejected):
    """What is logged of rewards [rows]. A tie is not right."""
    return {
        "rewards/chosen": chosen.mean(),
        "rewards/rejected": rejected.mean(),
        "rewards/accuracies": (chosen > rejected).float().mean(),
        "rewards/margins": (chosen - rejected).mean(),
    }


def dpo_loss(loss_type, chosen, rejected, scores, train):
    """The loss [rows] of log-ratios [rows] between the model and the reference."""
    beta, smoothing = train.get("beta", 0.1), train.get("label_smoothing", 0.0)
    x = beta * (chosen - rejected)
    match loss_type:
        case "sigmoid":
            return -logsigmoid(x)
        case "hinge":
            return torch.relu(1 - x)
        case "ipo":
            of_chosen, of_rejected = scores.lengths.chunk(2)
            return (chosen / of_chosen - rejected / of_rejected - 1 / (2 * beta)) ** 2
        case "robust":
            return (-(1 - smoothing) * logsigmoid(x) + smoothing * logsigmoid(-x)) / (1 - 2 * smoothing)
        case "apo_zero":
            return 1 - sigmoid(beta * chosen) + sigmoid(beta * rejected)
        case "apo_down":
            return sigmoid(beta * chosen) + 1 - sigmoid(x)
        case "sft":
            return -scores.mean(scores.logps, slice(len(chosen))).expand(len(chosen))
        case other:
            raise ValueError(f"no reference for loss_type {other}")


def dpo(scores, entries, train):
    logps_chosen, logps_rejected = scores.sums.chunk(2)
    reference = torch.tensor([entry["ref_logps"] for entry in entries])
    chosen, rejected = logps_chosen - reference[:, 0], logps_rejected - reference[:, 1]
    types = train.get("loss_type", "sigmoid")
    types = [types] if isinstance(types, str) else types
    weights = train.get("loss_weights") or [1.0] * len(types)
    losses = (dpo_loss(each, chosen, rejected, scores, train).mean() for each in types)
    loss = sum(weight * each for weight, each in zip(weights, losses, strict=True))
    beta, first, second = train.get("beta", 0.1), slice(len(entries)), slice(len(entries), None)
    return loss, {
        **rewards_of_pairs(beta * chosen, beta * rejected),
        "logps/chosen": logps_chosen.mean(),
        "logps/rejected": logps_rejected.mean(),
        "logits/chosen": scores.mean(scores.mean_logits, first),
        "logits/rejected": scores.mean(scores.mean_logits, second),
        "entropy": scores.mean(scores.entropy, slice(None)),
        "mean_token_accuracy": scores.mean(scores.is_best, first),
    }


def log1mexp(x):
    """log(1 - exp(x)) of negative x, from the side of -log 2 that loses no digits."""
    return torch.where(x < -0.6931471805599453, torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def orpo(scores, entries, train):
    beta = train.get("beta", 0.1)
    chosen, rejected = scores.means.chunk(2)
    odds = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    # Of the chosen answers with their prompts.
    nll = -scores.mean(scores.logps, slice(len(entries)), scores.real)
    return nll - beta * logsigmoid(odds).mean(), {
        **rewards_of_pairs(beta * chosen, beta * rejected),
        "logps/chosen": chosen.mean(),
        "logps/rejected": rejected.mean(),
        "nll_loss": nll,
        "log_odds_ratio": logsigmoid(odds).mean(),
        "log_odds_chosen": odds.mean(),
    }


def simpo(scores, entries, train):
    beta, gamma = train.get("beta", 0.1), train.get("simpo_gamma", 0.5)
    chosen, rejected = scores.means.chunk(2)
    x = beta * (chosen - rejected - gamma / beta)
    return smoothed(x, train.get("label_smoothing", 0.0)).mean(), {
        **rewards_of_pairs(beta * chosen, beta * rejected),
        "logps/chosen": chosen.mean(),
        "logps/rejected": rejected.mean(),
    }


def cpo(scores, entries, train):
    beta = train.get("beta", 0.1)
    chosen, rejected = scores.sums.chunk(2)
    # Of the chosen answers alone.
    nll = -scores.mean(scores.logps, slice(len(entries)))
    loss = smoothed(beta * (chosen - rejected), train.get("label_smoothing", 0.0)).mean()
    return loss + train.get("cpo_alpha", 1.0) * nll, {
        **rewards_of_pairs(beta * chosen, beta * rejected),
        "logps/chosen": chosen.mean(),
        "logps/rejected": rejected.mean(),
        "nll_loss": nll,
    }


def kto(scores, entries, train, kl_logps):
    """`kl_logps` [rows] are the log-probabilities of the answers that do not belong to their prompts."""
    beta = train.get("beta", 0.1)
    reference = torch.tensor([entry["ref_logps"] for entry in entries])
    ratios = scores.sums - reference[:, 0]
    kl = (kl_logps - reference[:, 1]).mean().clamp(min=0)
    good = torch.tensor([entry["label"] for entry in entries])
    weights = torch.where(good, train.get("desirable_weight", 1.0), train.get("undesirable_weight", 1.0))
    losses = weights * (1 - sigmoid(beta * torch.where(good, ratios - kl, kl - ratios)))
    metrics = {"kl": kl, "entropy": scores.mean(scores.entropy, slice(None))}
    # A micro-batch without answers of a kind says nothing of it.
    for kind, rows in (("chosen", good), ("rejected", ~good)):
        if rows.any():
            metrics[f"rewards/{kind}"] = beta * ratios[rows].mean()
            metrics[f"logps/{kind}"] = scores.sums[rows].mean()
            metrics[f"logits/{kind}"] = scores.mean(scores.mean_logits, rows)
    if good.any() and not good.all():
        metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"]
    return losses.mean(), metrics


OF_PAIRS = {"dpo": dpo, "orpo": orpo, "simpo": simpo, "cpo": cpo}
WITH_REFERENCE = ("dpo", "kto")
