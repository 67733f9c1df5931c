"""`simxrd_former` as transformers models: embeddings and classification along the tree of symmetry."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_simxrd_former import SimXRDFormerConfig
from .networks_simxrd_former import (
    BODY_FIELDS,
    LEVELS_OF_GROUP,
    N_ELEMENTS,
    Attention,
    AttentionBlock,
    ConvBlock,
    DenseBlock,
    FormerBody,
    HeadBlock,
    PatternNorm,
    SymmetryTree,
    classifier_width,
    has_one_class,
    is_hierarchical,
)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention written out: (batch, heads, tokens, width) each → (batch, tokens, heads, width) and the weights."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class SimXRDFormerAttention(Attention):
    """Attention through the backend the configuration names."""

    def __init__(self, config: SimXRDFormerConfig, width: int, heads: int, dropout: float):
        super().__init__(width, heads, dropout)
        self.config = config

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """See the parent."""
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.dropout if self.training else 0.0
        result: Tensor = attend(self, q, k, v, mask, scaling=self.scaling, dropout=dropout, is_causal=False)[0]
        return result


class SimXRDFormerConvBlock(GradientCheckpointingLayer, ConvBlock):
    """Convolution block that can recompute its activations."""


class SimXRDFormerDenseBlock(GradientCheckpointingLayer, DenseBlock):
    """Dense convolution block that can recompute its activations."""


class SimXRDFormerHeadBlock(GradientCheckpointingLayer, HeadBlock):
    """Residual MLP on the embedding that can recompute its activations."""


class SimXRDFormerLayer(GradientCheckpointingLayer, AttentionBlock):
    """Attention block that can recompute its activations."""


class SimXRDFormerPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation."""

    config_class = SimXRDFormerConfig
    base_model_prefix = "model"
    main_input_name = "intensity"
    input_modalities = ("time",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["SimXRDFormerLayer", "SimXRDFormerConvBlock", "SimXRDFormerDenseBlock"]  # noqa: RUF012 - the type transformers expects

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv1d):
            init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, PatternNorm):
            init.ones_(module.weight)
        elif isinstance(module, FormerBody) and module.no_composition is not None:
            init.zeros_(module.no_composition)
        elif isinstance(module, SymmetryTree):
            for name, table in module.tables().items():
                init.copy_(getattr(module, name), table)


class SimXRDFormerModel(SimXRDFormerPreTrainedModel):
    """Pattern (and composition) → embedding."""

    def __init__(self, config: SimXRDFormerConfig):
        super().__init__(config)
        self.body = FormerBody(
            **{name: getattr(config, name) for name in BODY_FIELDS},
            grid=config.full_grid,
            n_points=config.n_points,
            conv_block=SimXRDFormerConvBlock,
            dense_block=SimXRDFormerDenseBlock,
            head_block=SimXRDFormerHeadBlock,
            attention_block=lambda width, heads, expansion, dropout: SimXRDFormerLayer(
                SimXRDFormerAttention(config, width, heads, dropout), width, expansion
            ),
        )
        self.post_init()

    def hide_ranges(self, intensity: Tensor) -> tuple[Tensor, Tensor | None]:
        """Training patterns, part of them cut to a random range, and where they are measured; see `range_dropout`."""
        if not self.config.range_dropout:
            return intensity, None
        return _random_ranges(intensity, self.config.range_dropout)

    def forward(
        self,
        intensity: Tensor,
        mask: Tensor | None = None,
        composition: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed patterns.

        Args:
            intensity: (batch, n_points) float, maximum 100.
            mask: (batch, n_points) bool, True where measured.
            composition: (batch, 118) element fractions, atomic number 1 first; an all-zero row is unknown.
            output_hidden_states: Also return the output of the stem and of every block, each (batch, length, width).
            return_dict: False returns a tuple.
            **kwargs: Ignored.

        Returns:
            `last_hidden_state` (batch, tokens, width) and `pooler_output`, the embedding (batch, hidden_size).

        Raises:
            ValueError: An input has another shape.
        """
        n_points = self.config.n_points
        if intensity.ndim != 2 or intensity.shape[-1] != n_points:
            raise ValueError(f"intensity must have shape (batch, {n_points}), got {tuple(intensity.shape)}")
        if composition is not None:
            if not self.config.use_composition:
                raise ValueError("this model takes no composition (use_composition is false)")
            if composition.shape != (len(intensity), N_ELEMENTS):
                raise ValueError(f"composition must have shape (batch, {N_ELEMENTS}), got {tuple(composition.shape)}")
            if self.training and self.config.composition_dropout:
                kept = torch.rand(len(composition), 1, device=composition.device) >= self.config.composition_dropout
                composition = composition * kept
        if self.training and mask is None:
            intensity, mask = self.hide_ranges(intensity)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden: list[Tensor] | None = [] if output_hidden_states else None
        tokens, embedding = self.body(intensity.to(self.dtype), mask, composition, hidden)
        output = BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=embedding,
            hidden_states=None if hidden is None else tuple(hidden),
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


class SimXRDFormerForSequenceClassification(SimXRDFormerPreTrainedModel):
    """The embedding and its classifier; for space groups the classifier scores the whole tree of symmetry."""

    @property
    def rows_apart(self) -> bool:
        """Whether parts of a batch may be computed at once in training: no row has to do with another.

        Nothing is drawn in the forward pass either, once the ranges are hidden.
        """
        return not (self.config.dropout or self.config.attention_dropout or self.config.use_composition)

    def hide_ranges(self, intensity: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `SimXRDFormerModel.hide_ranges`."""
        return self.model.hide_ranges(intensity)

    def __init__(self, config: SimXRDFormerConfig):
        super().__init__(config)
        self.model = SimXRDFormerModel(config)
        labels = config.task, config.num_labels, config.problem_type
        self.classifier = nn.Linear(config.hidden_size, classifier_width(*labels))
        self.tree = SymmetryTree() if is_hierarchical(*labels) else None
        self.post_init()

    def forward(
        self,
        intensity: Tensor,
        mask: Tensor | None = None,
        composition: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify patterns.

        Args:
            intensity: (batch, n_points) float, maximum 100; or (batch, patterns, n_points) for several patterns of
                each sample, whose log-probabilities are averaged.
            mask: The same shape, bool, True where measured. A pattern with nothing measured is left out of the mean.
            composition: (batch, 118) element fractions.
            labels: (batch,) class indices; (batch, num_labels) of 0 and 1 for several labels at once; (batch,) or
                (batch, num_labels) numbers for a regression. `config.problem_type` says which, as in all models of
                transformers.
            output_hidden_states: Also return the output of the stem and of every block.
            return_dict: False returns a tuple.
            **kwargs: `num_items_in_batch` goes to the loss.

        Returns:
            `logits` (batch, num_labels): for space groups log-probabilities, which sum to one.

        Raises:
            ValueError: Labels that do not fit the classifier.
        """
        samples, patterns = intensity.shape[0], 1
        if intensity.ndim == 3:
            patterns = intensity.shape[1]
            intensity = intensity.flatten(0, 1)
            mask = None if mask is None else mask.flatten(0, 1)
            composition = None if composition is None else composition.repeat_interleave(patterns, dim=0)
        outputs = self.model(
            intensity, mask=mask, composition=composition, output_hidden_states=output_hidden_states, return_dict=True
        )
        scores = self.classifier(outputs.pooler_output)
        levels = self.tree(scores) if self.tree is not None else (scores.float(),)
        if patterns > 1:
            one_class = has_one_class(self.config.num_labels, self.config.problem_type)
            mean = _mean_of_patterns(levels[-1], mask, samples, patterns, one_class)
            levels = (mean,) if self.tree is None else _coarser(mean)
        loss = None
        if labels is not None:
            loss = self._loss(levels, labels, kwargs.get("num_items_in_batch"))
        output = SequenceClassifierOutput(loss=loss, logits=levels[-1], hidden_states=outputs.hidden_states)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _loss(self, levels: tuple[Tensor, ...], labels: Tensor, num_items: Any) -> Tensor:
        """Smoothed cross-entropy of the labels plus weighted log-losses of the coarser levels.

        Several labels at once and regression: the losses of transformers.
        """
        problem, one_label = self.config.problem_type, not labels.is_floating_point()
        if self.tree is not None and not one_label:
            raise ValueError(
                "the classifier of the 230 space groups scores a tree of which one group is true, and labels must be "
                'class indices; for several at once load it with problem_type="multi_label_classification" and '
                "ignore_mismatched_sizes=True"
            )
        if problem in ("multi_label_classification", "regression") or self.config.num_labels == 1 or not one_label:
            other: Tensor = self.loss_function(
                labels=labels, pooled_logits=levels[-1], config=self.config, num_items_in_batch=num_items
            )
            return other
        reduction = "mean" if num_items is None else "sum"
        loss = functional.cross_entropy(
            levels[-1], labels, label_smoothing=self.config.label_smoothing, reduction=reduction
        )
        for level, weight, log_p in zip(LEVELS_OF_GROUP, self.config.level_weights, levels[:-1], strict=False):
            if weight:
                target = torch.tensor(level, device=labels.device)[labels.clamp(min=0)]
                target = torch.where(labels < 0, labels, target)
                loss = loss + weight * functional.nll_loss(log_p, target, reduction=reduction)
        return loss if num_items is None else loss / num_items


def _random_ranges(intensity: Tensor, part: float) -> tuple[Tensor, Tensor]:
    """Cut part of the patterns to a random range of at least two fifths of the points; maximum 100 in what is left."""
    batch, points = intensity.shape
    low, high, chance = torch.rand(3, batch, 1, device=intensity.device)
    index = torch.arange(points, device=intensity.device)
    shown = (index >= 0.25 * points * low) & (index < points * (1.0 - 0.35 * high)) | (chance >= part)
    cut = intensity * shown
    return cut * (100.0 / cut.amax(dim=-1, keepdim=True).clamp(min=1e-3)), shown


def _mean_of_patterns(logits: Tensor, mask: Tensor | None, samples: int, patterns: int, one_class: bool) -> Tensor:
    """Mean over the patterns of each sample: of normalised log-probabilities, normalised again, or of plain scores."""
    log_p = torch.log_softmax(logits, dim=-1) if one_class else logits
    log_p = log_p.view(samples, patterns, -1)
    weight = torch.ones(samples, patterns, 1, device=logits.device)
    if mask is not None:
        weight = mask.any(dim=-1).view(samples, patterns, 1).to(log_p.dtype)
    mean = (log_p * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    return torch.log_softmax(mean, dim=-1) if one_class else mean


def _coarser(log_p: Tensor) -> tuple[Tensor, ...]:
    """Log-probabilities of all levels from those of the groups."""
    levels = []
    for nodes in LEVELS_OF_GROUP[:-1]:
        index = torch.tensor(nodes, device=log_p.device)
        summed = torch.zeros(len(log_p), max(nodes) + 1, device=log_p.device, dtype=log_p.dtype)
        levels.append(summed.index_add(1, index, log_p.exp()).clamp(min=1e-38).log())
    return (*levels, log_p)
