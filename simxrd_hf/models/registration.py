"""Makes the SimXRD model types known to transformers: Auto classes, and the "xrd-classification" task."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from simxrd_hf.models.configuration_simxrd_baseline import SimXRDBaselineConfig
from simxrd_hf.models.configuration_simxrd_former import SimXRDFormerConfig
from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor
from simxrd_hf.models.modeling_simxrd_baseline import SimXRDBaselineForSequenceClassification, SimXRDBaselineModel
from simxrd_hf.models.modeling_simxrd_former import SimXRDFormerForSequenceClassification, SimXRDFormerModel
from simxrd_hf.models.pipeline_simxrd import XRDClassificationPipeline

MODEL_TYPES = {
    SimXRDBaselineConfig: (SimXRDBaselineModel, SimXRDBaselineForSequenceClassification),
    SimXRDFormerConfig: (SimXRDFormerModel, SimXRDFormerForSequenceClassification),
}

for _config, (_model, _classifier) in MODEL_TYPES.items():
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoModelForSequenceClassification.register(_config, _classifier, exist_ok=True)
    AutoFeatureExtractor.register(_config, SimXRDFeatureExtractor, exist_ok=True)

PIPELINE_REGISTRY.register_pipeline(
    "xrd-classification",
    pipeline_class=XRDClassificationPipeline,
    pt_model=AutoModelForSequenceClassification,
    type="multimodal",
)
