"""The SimXRD benchmark networks as transformers models: embeddings and classification."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from .configuration_simxrd_baseline import SimXRDBaselineConfig
from .networks_simxrd_baseline import BaselineBody, ConvSelfAttention, published_probabilities, scale_intensity


class SimXRDBaselinePreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation of the benchmark networks."""

    config_class = SimXRDBaselineConfig
    base_model_prefix = "model"
    main_input_name = "intensity"
    input_modalities = ("time",)
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # torch's own defaults (the published nets were trained from them), Xavier for cnn8 and cpicann; without this
        # method transformers would draw every weight from N(0, 0.02).
        if isinstance(module, nn.Linear | nn.Conv1d):
            if self.config.architecture in ("cnn8", "cpicann"):
                init.xavier_uniform_(module.weight)
            else:
                init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.RNNBase):
            bound = 1 / math.sqrt(module.hidden_size)
            for weight in module.parameters():
                init.uniform_(weight, -bound, bound)
        elif isinstance(module, nn.MultiheadAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
            init.zeros_(module.out_proj.bias)
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm1d):
                init.zeros_(module.running_mean)
                init.ones_(module.running_var)
                init.zeros_(module.num_batches_tracked)
        elif isinstance(module, ConvSelfAttention):
            init.trunc_normal_(module.class_token, std=0.02)


class SimXRDBaselineModel(SimXRDBaselinePreTrainedModel):
    """A benchmark network up to the layer before its classifier: pattern → embedding."""

    def __init__(self, config: SimXRDBaselineConfig):
        super().__init__(config)
        self.body = BaselineBody(
            config.architecture,
            config.n_points,
            seven_way=config.task == "crystal_system",
            corrected=config.variant == "corrected",
        )
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        intensity: Tensor,
        mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed patterns.

        Args:
            intensity: (batch, n_points) float, maximum 100.
            mask: (batch, n_points) bool, True where measured; the rest is set to 0.
            output_hidden_states: Also return the output of every stage.
            return_dict: False returns a tuple.
            **kwargs: Ignored (other models of the family take more inputs).

        Returns:
            `pooler_output` (batch, width) is the embedding; `last_hidden_state` is the same with a token axis.

        Raises:
            ValueError: The patterns do not have the grid's number of points.
        """
        n_points = self.config.n_points
        if intensity.ndim != 2 or intensity.shape[-1] != n_points:
            raise ValueError(f"intensity must have shape (batch, {n_points}), got {tuple(intensity.shape)}")
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        intensity = intensity.to(self.dtype)
        x = scale_intensity(intensity, mask, self.config.intensity_scaling)[:, None]
        hidden = [x]
        for stage in self.body.stages:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(stage.__call__, x)
            else:
                x = stage(x)
            hidden.append(x)
        output = BaseModelOutputWithPooling(
            last_hidden_state=x[:, None],
            pooler_output=x,
            hidden_states=tuple(hidden) if output_hidden_states else None,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


class SimXRDBaselineForSequenceClassification(SimXRDBaselinePreTrainedModel):
    """A benchmark network with its classifier."""

    def __init__(self, config: SimXRDBaselineConfig):
        super().__init__(config)
        self.model = SimXRDBaselineModel(config)
        self.classifier = nn.Linear(self.model.body.width, config.num_labels)
        self.post_init()

    def forward(
        self,
        intensity: Tensor,
        mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify patterns.

        Args:
            intensity: (batch, n_points) float, maximum 100.
            mask: (batch, n_points) bool, True where measured.
            labels: (batch,) class indices; gives the cross-entropy loss.
            output_hidden_states: Also return the output of every stage.
            return_dict: False returns a tuple.
            **kwargs: `num_items_in_batch` goes to the loss.

        Returns:
            `logits` (batch, num_labels). For `variant="as_published"` they are what the published forward returned:
            probabilities for nine of the networks, which the loss then takes for logits.
        """
        outputs = self.model(intensity, mask=mask, output_hidden_states=output_hidden_states, return_dict=True)
        logits = self.classifier(outputs.pooler_output)
        if self.config.variant == "as_published":
            logits = published_probabilities(logits, self.config.architecture)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                labels=labels,
                pooled_logits=logits,
                config=self.config,
                num_items_in_batch=kwargs.get("num_items_in_batch"),
            )
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()
