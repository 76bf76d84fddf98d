"""Every backbone of keras-hub in a tiny configuration with random weights, and an input for each.

Used by tests, and by the sweep.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_hub
import numpy as np
from keras_hub import models

TOKENS, TIME, IMAGE = 8, 32, 64
"""Sizes for axes that a model leaves open: of ids, of sound, and of images."""

VOCABULARY = 20

_TEXT = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
}
_LLAMA = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 8,
    "intermediate_dim": 16,
}
_MOE = {"moe_intermediate_dim": 8, "num_experts": 2, "top_k": 1}
_IMAGE = {"image_shape": (IMAGE, IMAGE, 3)}
_VIT = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
_TOWER = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
_TEXT_TOWER = {**_TOWER, "vocabulary_size": VOCABULARY, "embedding_dim": 8, "max_sequence_length": TOKENS}
_T5GEMMA = {
    "vocabulary_size": VOCABULARY,
    **{
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {
            "hidden_dim": 8,
            "intermediate_dim": 16,
            "num_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 4,
            "layer_types": ["full_attention", "sliding_attention"],
        }.items()
    },
    "sliding_window": 4,
}
_LINEAR_ATTENTION = {
    "head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
    "partial_rotary_factor": 0.5,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 2,
}


def _resnet(**shape: Any) -> Any:
    return models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],  # a basic block must begin with 64
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        **shape,
    )


def _mit() -> Any:
    return models.MiTBackbone(
        num_layers=2,
        layerwise_depths=[1, 1],
        hidden_dims=[4, 8],
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        max_drop_path_rate=0.1,
        **_IMAGE,
    )


def _clip() -> Any:
    return models.CLIPBackbone(
        vision_encoder=models.CLIPVisionEncoder(patch_size=16, **_TOWER, **_IMAGE),
        text_encoder=models.CLIPTextEncoder(**_TEXT_TOWER),
        projection_dim=4,
    )


def _metaclip() -> Any:
    return models.MetaCLIP2Backbone(
        vision_encoder=models.MetaCLIP2VisionEncoder(patch_size=16, **_TOWER, **_IMAGE),
        text_encoder=models.MetaCLIP2TextEncoder(**_TEXT_TOWER),
        projection_dim=4,
    )


def _siglip() -> Any:
    return models.SigLIPBackbone(
        vision_encoder=models.SigLIPVisionEncoder(patch_size=16, **_TOWER, **_IMAGE),
        text_encoder=models.SigLIPTextEncoder(**_TEXT_TOWER, projection_dim=8),
    )


def _hgnet() -> Any:
    return models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=4,
        hidden_sizes=[8, 16],
        stem_channels=[3, 4, 4],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(4, 4, 8, 1, 2, 3), (8, 4, 16, 1, 2, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        out_features=["stage1", "stage2"],
        **_IMAGE,
    )


def _dfine() -> Any:
    return models.DFineBackbone(
        backbone=_hgnet(),
        decoder_in_channels=[8, 8],
        encoder_hidden_dim=8,
        num_denoising=0,
        num_labels=4,
        hidden_dim=8,
        learn_initial_query=False,
        num_queries=6,
        anchor_image_size=(IMAGE, IMAGE),
        feat_strides=[4, 8],
        num_feature_levels=2,
        encoder_in_channels=[8, 16],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=16,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=8,
        num_lqe_layers=2,
        out_features=["stage1", "stage2"],
        seed=0,
        **_IMAGE,
    )


def _sam() -> Any:
    encoder = models.ViTDetBackbone(
        hidden_size=8,
        num_layers=2,
        intermediate_dim=16,
        num_heads=2,
        global_attention_layer_indices=[1],
        patch_size=16,
        num_output_channels=8,
        window_size=2,
        **_IMAGE,
    )
    prompts = keras_hub.layers.SAMPromptEncoder(
        hidden_size=8, image_embedding_size=(4, 4), input_image_size=(IMAGE, IMAGE), mask_in_channels=4
    )
    decoder = keras_hub.layers.SAMMaskDecoder(
        num_layers=2,
        hidden_size=8,
        intermediate_dim=16,
        num_heads=2,
        embedding_dim=8,
        num_multimask_outputs=3,
        iou_head_depth=2,
        iou_head_hidden_dim=8,
    )
    return models.SAMBackbone(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)


def _sam3() -> Any:
    shape, size = (56, 56, 3), {"hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    layers = keras_hub.layers
    return models.SAM3PromptableConceptBackbone(
        vision_encoder=layers.SAM3VisionEncoder(
            image_shape=shape,
            patch_size=14,
            num_layers=2,
            fpn_hidden_dim=8,
            fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
            pretrain_image_shape=shape,
            window_size=2,
            global_attn_indexes=[1],
            **size,
        ),
        text_encoder=layers.SAM3TextEncoder(vocabulary_size=VOCABULARY, embedding_dim=8, num_layers=1, **size),
        geometry_encoder=layers.SAM3GeometryEncoder(num_layers=1, roi_size=3, **size),
        detr_encoder=layers.SAM3DetrEncoder(num_layers=1, **size),
        detr_decoder=layers.SAM3DetrDecoder(image_shape=shape, patch_size=14, num_layers=2, num_queries=5, **size),
        mask_decoder=layers.SAM3MaskDecoder(num_upsampling_stages=3, hidden_dim=8, num_heads=2),
    )


def _stable_diffusion() -> Any:
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    filters = {"encoder_num_filters": [32, 32, 32, 32], "encoder_num_blocks": [1, 1, 1, 1]}
    vae = VAEBackbone(
        **filters,
        decoder_num_filters=[32, 32, 32, 32],
        decoder_num_blocks=[1, 1, 1, 1],
        sampler_method="mode",
    )
    clips = [
        models.CLIPTextEncoder(**_TEXT_TOWER, intermediate_output_index=0, name=name) for name in ("clip_l", "clip_g")
    ]
    return models.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=8,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=8,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=vae,
        clip_l=clips[0],
        clip_g=clips[1],
        **_IMAGE,
    )


def _flux() -> Any:
    return models.FluxBackbone(
        input_channels=4,
        hidden_size=8,
        mlp_ratio=2.0,
        num_heads=2,
        depth=1,
        depth_single_blocks=1,
        axes_dim=[2, 2],
        theta=100,
        use_bias=True,
        image_shape=(6, 4),
        text_shape=(5, 4),
        image_ids_shape=(6, 2),
        text_ids_shape=(5, 2),
        y_shape=(4,),
    )


def _blip2() -> Any:
    vision = models.BLIP2VisionEncoder(
        image_size=32,
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        initializer_range=0.02,
    )
    former = models.BLIP2QFormer(
        num_query_tokens=3,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        vision_dim=8,
        cross_attention_frequency=2,
        dropout=0.0,
        layer_norm_epsilon=1e-6,
    )
    language = models.BLIP2CustomOPT(
        **_TEXT, num_query_tokens=3, dropout=0.0, max_sequence_length=TOKENS + 3, qformer_hidden_dim=8
    )
    return models.BLIP2Backbone(vision_encoder=vision, qformer=former, language_model=language)


def _gemma3n() -> Any:
    return models.Gemma3nBackbone(
        text_vocab_size=VOCABULARY,
        text_hidden_size=8,
        num_hidden_layers=2,
        pad_token_id=0,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        intermediate_size=[16, 16],
        hidden_activation="gelu_approximate",
        layer_types=["full_attention", "sliding_attention"],
        sliding_window=4,
        rope_theta=10000.0,
        max_position_embeddings=16,
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=2,
        altup_num_inputs=2,
        laurel_rank=1,
    )


def _mobilenet_v5() -> Any:
    blocks: dict[str, list[list[Any]]] = {
        "stackwise_block_types": [["er"], ["uir", "uir"]],
        "stackwise_num_filters": [[8], [8, 8]],
        "stackwise_strides": [[2], [2, 1]],
        "stackwise_act_layers": [["relu"], ["relu", "relu"]],
        "stackwise_exp_ratios": [[2.0], [2.0, 2.0]],
        "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
        "stackwise_dw_kernel_sizes": [[0], [3, 3]],
        "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
        "stackwise_exp_kernel_sizes": [[3], [0, 0]],
        "stackwise_pw_kernel_sizes": [[1], [0, 0]],
        "stackwise_num_heads": [[0], [0, 0]],
        "stackwise_key_dims": [[0], [0, 0]],
        "stackwise_value_dims": [[0], [0, 0]],
        "stackwise_kv_strides": [[0], [0, 0]],
        "stackwise_use_cpe": [[False], [False, False]],
    }
    return models.MobileNetV5Backbone(
        **blocks, stackwise_num_blocks=[1, 2], stem_size=8, num_features=8, use_msfa=False, **_IMAGE
    )


def _mobilenet() -> Any:
    return models.MobileNetBackbone(
        stackwise_expansion=[[8, 8], [8]],
        stackwise_num_blocks=[2, 1],
        stackwise_num_filters=[[8, 8], [8]],
        stackwise_kernel_size=[[3, 3], [5]],
        stackwise_num_strides=[[2, 1], [2]],
        stackwise_se_ratio=[[None, None], [0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish"]],
        stackwise_padding=[[1, 1], [2]],
        output_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=16,
        squeeze_and_excite=0.5,
        input_num_filters=8,
        **_IMAGE,
    )


def _efficientnet() -> Any:
    return models.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 2],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["fused", "unfused"],
        stackwise_width_coefficients=[1.0, 1.0],
        stackwise_depth_coefficients=[1.0, 1.0],
        num_features=16,
        input_shape=(IMAGE, IMAGE, 3),
    )


def _cspnet() -> Any:
    return models.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 1],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 16],
        block_type="dark_block",
        stage_type="csp",
        block_ratio=[0.5],
        **_IMAGE,
    )


def _dinov2() -> Any:
    return models.DINOV2Backbone(**_VIT, intermediate_dim=16, position_embedding_shape=(IMAGE, IMAGE, 3), **_IMAGE)


def _depth_anything() -> Any:
    return models.DepthAnythingBackbone(
        image_encoder=_dinov2(),
        reassemble_factors=[2, 1],
        neck_hidden_dims=[4, 4],
        fusion_hidden_dim=4,
        head_hidden_dim=4,
        head_in_index=-1,
        feature_keys=["stage1", "stage2"],
    )


def _vit() -> Any:
    return models.ViTBackbone(**_VIT, mlp_dim=16, **_IMAGE)


def _video_prism() -> Any:
    return models.VideoPrismBackbone(
        num_frames=2,
        patch_size=16,
        hidden_dim=8,
        intermediate_dim=16,
        num_heads=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=1,
        vocabulary_size=VOCABULARY,
        num_text_layers=1,
        image_shape=(32, 32, 3),
    )


def _gemma3() -> Any:
    from keras_hub.src.models.gemma3.gemma3_vision_encoder import Gemma3VisionEncoder

    vision = Gemma3VisionEncoder(
        image_size=16,
        patch_size=4,
        num_heads=2,
        hidden_dim=8,
        num_layers=1,
        intermediate_dim=16,
        output_dim=8,
        pool_size=2,
    )
    return models.Gemma3Backbone(
        **_LLAMA,
        image_size=16,
        head_dim=4,
        use_sliding_window_attention=True,
        sliding_window_size=4,
        vision_encoder=vision,
    )


def _smollm() -> Any:
    return models.SmolLM3Backbone(
        vocabulary_size=VOCABULARY,
        hidden_dim=8,
        intermediate_dim=16,
        num_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        attention_bias=False,
        attention_dropout=0.0,
        rope_layer_enabled_list=[True, False],
        layer_types=["attention"] * 2,
        mlp_bias=False,
        layer_norm_epsilon=1e-5,
        max_position_embeddings=16,
        rope_theta=10000.0,
        partial_rotary_factor=1.0,
    )


MODELS: dict[str, Callable[[], Any]] = {
    "AlbertBackbone": lambda: models.AlbertBackbone(**_TEXT, embedding_dim=4, max_sequence_length=TOKENS),
    "BASNetBackbone": lambda: models.BASNetBackbone(
        image_encoder=_resnet(), num_classes=1, projection_filters=64, **_IMAGE
    ),
    "BLIP2Backbone": _blip2,
    "BartBackbone": lambda: models.BartBackbone(**_TEXT, max_sequence_length=TOKENS),
    "BertBackbone": lambda: models.BertBackbone(**_TEXT, max_sequence_length=TOKENS),
    "BloomBackbone": lambda: models.BloomBackbone(**_TEXT),
    "CLIPBackbone": _clip,
    "CSPNetBackbone": _cspnet,
    "DFineBackbone": _dfine,
    "DINOV2Backbone": _dinov2,
    "DINOV3Backbone": lambda: models.DINOV3Backbone(**_VIT, intermediate_dim=16, **_IMAGE),
    "DebertaV3Backbone": lambda: models.DebertaV3Backbone(**_TEXT, max_sequence_length=TOKENS, bucket_size=4),
    "DeepLabV3Backbone": lambda: models.DeepLabV3Backbone(
        image_encoder=_resnet(**_IMAGE),
        spatial_pyramid_pooling_key="P4",
        low_level_feature_key="P2",
        upsampling_size=4,
        dilation_rates=[1, 2],
        projection_filters=4,
        **_IMAGE,
    ),
    "DeiTBackbone": lambda: models.DeiTBackbone(**_VIT, intermediate_dim=16, **_IMAGE),
    "DenseNetBackbone": lambda: models.DenseNetBackbone(stackwise_num_repeats=[1, 2], growth_rate=4, **_IMAGE),
    "DepthAnythingBackbone": _depth_anything,
    "DistilBertBackbone": lambda: models.DistilBertBackbone(**_TEXT, max_sequence_length=TOKENS),
    "ESM2Backbone": lambda: models.ESM2Backbone(**_TEXT),
    "ESMBackbone": lambda: models.ESMBackbone(**_TEXT),
    "EdRecBackbone": lambda: models.EdRecBackbone(
        vocab_size=VOCABULARY,
        num_layers_enc=1,
        num_layers_dec=1,
        hidden_dim=8,
        intermediate_dim=16,
        num_heads=2,
    ),
    "EfficientNetBackbone": _efficientnet,
    "ElectraBackbone": lambda: models.ElectraBackbone(
        vocab_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        embedding_dim=4,
        intermediate_dim=16,
        max_sequence_length=TOKENS,
    ),
    "FNetBackbone": lambda: models.FNetBackbone(
        vocabulary_size=VOCABULARY, num_layers=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=TOKENS
    ),
    "FalconBackbone": lambda: models.FalconBackbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_attention_heads=2, hidden_dim=8, intermediate_dim=16
    ),
    "FluxBackbone": _flux,
    "GPT2Backbone": lambda: models.GPT2Backbone(**_TEXT, max_sequence_length=TOKENS),
    "GPTNeoXBackbone": lambda: models.GPTNeoXBackbone(**_TEXT, rotary_percentage=0.5, max_sequence_length=TOKENS),
    "Gemma3Backbone": _gemma3,
    "Gemma3nBackbone": _gemma3n,
    "Gemma4Backbone": lambda: models.Gemma4Backbone(**_LLAMA, image_size=16, head_dim=4, sliding_window_size=4),
    "GemmaBackbone": lambda: models.GemmaBackbone(**_LLAMA, head_dim=4),
    "GptOssBackbone": lambda: models.GptOssBackbone(**_LLAMA, num_experts=2, top_k=1, sliding_window=4),
    "HGNetV2Backbone": _hgnet,
    "Llama3Backbone": lambda: models.Llama3Backbone(**_LLAMA),
    "LlamaBackbone": lambda: models.LlamaBackbone(**_LLAMA),
    "MetaCLIP2Backbone": _metaclip,
    "MiTBackbone": _mit,
    "MistralBackbone": lambda: models.MistralBackbone(**_LLAMA, sliding_window=4),
    "MixtralBackbone": lambda: models.MixtralBackbone(**_LLAMA, num_experts=3, sliding_window=4),
    "MobileNetBackbone": _mobilenet,
    "MobileNetV5Backbone": _mobilenet_v5,
    "MoonshineBackbone": lambda: models.MoonshineBackbone(
        vocabulary_size=VOCABULARY,
        filter_dim=16,
        encoder_num_layers=1,
        decoder_num_layers=1,
        hidden_dim=16,
        intermediate_dim=16,
        encoder_num_heads=2,
        decoder_num_heads=2,
    ),
    "OPTBackbone": lambda: models.OPTBackbone(**_TEXT, max_sequence_length=TOKENS),
    "PARSeqBackbone": lambda: models.PARSeqBackbone(
        image_encoder=_vit(),
        vocabulary_size=VOCABULARY,
        max_label_length=TOKENS,
        decoder_hidden_dim=8,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=16,
    ),
    "PaliGemmaBackbone": lambda: models.PaliGemmaBackbone(
        **_LLAMA,
        image_size=16,
        head_dim=4,
        vit_patch_size=8,
        vit_num_heads=2,
        vit_hidden_dim=8,
        vit_num_layers=1,
    ),
    "Phi3Backbone": lambda: models.Phi3Backbone(**_LLAMA),
    "Qwen2Backbone": lambda: models.Qwen2Backbone(**_LLAMA),
    "Qwen3Backbone": lambda: models.Qwen3Backbone(**_LLAMA, head_dim=4),
    "Qwen3MoeBackbone": lambda: models.Qwen3MoeBackbone(**_LLAMA, **_MOE),
    "Qwen3_5Backbone": lambda: models.Qwen3_5Backbone(**_LLAMA, **_LINEAR_ATTENTION),
    "Qwen3_5MoeBackbone": lambda: models.Qwen3_5MoeBackbone(
        **{name: value for name, value in _LLAMA.items() if name != "intermediate_dim"},
        **_LINEAR_ATTENTION,
        **_MOE,
        shared_expert_intermediate_size=8,
    ),
    "QwenBackbone": lambda: models.QwenBackbone(**_LLAMA),
    "QwenMoeBackbone": lambda: models.QwenMoeBackbone(**_LLAMA, **_MOE, shared_expert_intermediate_dim=8),
    "RWKV7Backbone": lambda: models.RWKV7Backbone(
        hidden_size=8,
        head_size=4,
        num_layers=2,
        vocabulary_size=VOCABULARY,
        intermediate_dim=16,
        gate_lora=4,
        mv_lora=4,
        aaa_lora=4,
        decay_lora=4,
    ),
    "ResNetBackbone": lambda: _resnet(**_IMAGE),
    "RetinaNetBackbone": lambda: models.RetinaNetBackbone(
        image_encoder=_resnet(**_IMAGE), min_level=3, max_level=6, use_p5=False, **_IMAGE
    ),
    "RobertaBackbone": lambda: models.RobertaBackbone(**_TEXT, max_sequence_length=TOKENS),
    "RoformerV2Backbone": lambda: models.RoformerV2Backbone(**_TEXT, head_size=4),
    "SAM3PromptableConceptBackbone": _sam3,
    "SAMBackbone": _sam,
    "SegFormerBackbone": lambda: models.SegFormerBackbone(image_encoder=_mit(), projection_filters=8),
    "SigLIPBackbone": _siglip,
    "SmolLM3Backbone": _smollm,
    "SmolLMBackbone": _smollm,
    "StableDiffusion3Backbone": _stable_diffusion,
    "SwinTransformerBackbone": lambda: models.SwinTransformerBackbone(
        embed_dim=8, depths=[2, 2], num_heads=[1, 2], window_size=4, **_IMAGE
    ),
    "T5Backbone": lambda: models.T5Backbone(**_TEXT),
    "T5Gemma2Backbone": lambda: models.T5Gemma2Backbone(**_T5GEMMA),
    "T5GemmaBackbone": lambda: models.T5GemmaBackbone(**_T5GEMMA),
    "VGGBackbone": lambda: models.VGGBackbone(stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 8], **_IMAGE),
    "ViTBackbone": _vit,
    "ViTDetBackbone": lambda: _sam().image_encoder,
    "VideoPrismBackbone": _video_prism,
    "WhisperBackbone": lambda: models.WhisperBackbone(
        **_TEXT, num_mels=4, max_encoder_sequence_length=TIME, max_decoder_sequence_length=TOKENS
    ),
    "XLMRobertaBackbone": lambda: models.XLMRobertaBackbone(**_TEXT, max_sequence_length=TOKENS),
    "XLNetBackbone": lambda: models.XLNetBackbone(**_TEXT),
    "XceptionBackbone": lambda: models.XceptionBackbone(
        stackwise_conv_filters=[[4, 8], [8, 8]], stackwise_pooling=[True, False], **_IMAGE
    ),
}
"""Constructors by the name under which keras_hub.models exports the class."""

ABSTRACT = ("Backbone", "FeaturePyramidBackbone")
"""Base classes that are no models by themselves."""


def names() -> list[str]:
    """Every backbone that keras-hub exports, with a configuration here or without."""
    exported = {name for name in dir(models) if name.endswith("Backbone") and name not in ABSTRACT}
    return sorted(exported | set(MODELS))


def sample_inputs(model: Any, examples: int, seed: int = 0) -> dict[str, Any]:
    """An array for each input of a model, by name: ids below the vocabulary, masks of which some end early."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for tensor in keras.tree.flatten(model.input):
        name, dtype = _name(tensor), keras.backend.standardize_dtype(tensor.dtype)
        inputs[name] = _sample(name, [*tensor.shape[1:]], dtype, examples, rng)
    return inputs


def argument(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The argument that a model is called with, of arrays by name."""
    return keras.tree.map_structure(lambda tensor: inputs[_name(tensor)], model.input)


def _name(tensor: Any) -> str:
    return str(tensor._keras_history.operation.name)


def _sample(name: str, sizes: list[int | None], dtype: str, examples: int, rng: np.random.Generator) -> Any:
    if name in SPECIAL and (value := SPECIAL[name](examples)).ndim == len(sizes) + 1:
        return value
    if name == "boxes":  # the number of an image in the batch, then center and size
        return np.concatenate([np.zeros((examples, 1, 1)), rng.uniform(0.2, 0.4, (examples, 1, 4))], -1).astype(dtype)
    length = TOKENS if len(sizes) == 1 else TIME
    shape = [examples, *(length if size is None else size for size in sizes)]
    if "mask" in name and len(shape) == 2:
        lengths = rng.integers(shape[1] // 2, shape[1] + 1, (examples, 1))
        return (np.arange(shape[1]) < lengths).astype(dtype)
    if dtype == "bool":
        return np.ones(shape, dtype)
    if dtype.startswith("int"):
        return rng.integers(0, 2 if "segment" in name else VOCABULARY, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


SPECIAL: dict[str, Callable[[int], Any]] = {
    "attention_mask": lambda n: np.tril(np.ones((n, 1, TOKENS, TOKENS), "bool")),
    "points": lambda n: np.full((n, 1, 2), 20.0, "float32"),
    "labels": lambda n: np.ones((n, 1), "float32"),
    "boxes": lambda n: np.tile(np.float32([[[8, 8], [40, 40]]]), (n, 1, 1, 1)),
    "images": lambda n: np.random.default_rng(0).standard_normal((n, 1, 16, 16, 3)).astype("float32"),
    "encoder_input_values": lambda n: np.random.default_rng(0).standard_normal((n, 2000, 1)).astype("float32"),
    "vision_indices": lambda n: np.tile(np.arange(4, dtype="int32"), (n, 1)),
    "vision_mask": lambda n: np.tile(np.arange(TOKENS) < 4, (n, 1)),
    "masks": lambda n: np.zeros((n, 0, 16, 16, 1), "float32"),
    "box_labels": lambda n: np.zeros((n, 1), "int32"),
    "num_steps": lambda n: np.full((n,), 2, "int32"),
    "guidance_scale": lambda n: np.full((n,), 3.0, "float32"),
}
"""Inputs of particular models that random numbers do not make sense for."""
