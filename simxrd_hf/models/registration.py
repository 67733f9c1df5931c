"""Makes the SimXRD model types known to transformers: Auto classes, and the "xrd-classification" task."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSequenceClassification,
)

from simxrd_hf.models.configuration_simxrd_baseline import SimXRDBaselineConfig
from simxrd_hf.models.configuration_simxrd_former import SimXRDFormerConfig
from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor
from simxrd_hf.models.modeling_simxrd_baseline import SimXRDBaselineForSequenceClassification, SimXRDBaselineModel
from simxrd_hf.models.modeling_simxrd_former import SimXRDFormerForSequenceClassification, SimXRDFormerModel

MODEL_TYPES = {
    SimXRDBaselineConfig: (SimXRDBaselineModel, SimXRDBaselineForSequenceClassification),
    SimXRDFormerConfig: (SimXRDFormerModel, SimXRDFormerForSequenceClassification),
}

for _config, (_model, _classifier) in MODEL_TYPES.items():
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoModelForSequenceClassification.register(_config, _classifier, exist_ok=True)
    AutoFeatureExtractor.register(_config, SimXRDFeatureExtractor, exist_ok=True)
