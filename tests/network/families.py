"""One small member of every family of timm: a family is a module of ``timm.models``."""

from __future__ import annotations

from typing import Any, NamedTuple


class Member(NamedTuple):
    """An architecture, made small by its arguments and its images (pixels)."""

    name: str
    kwargs: dict[str, Any]
    size: int = 64


def shrunk(name: str, size: int = 64, **kwargs: Any) -> Member:
    """Write a member in a line."""
    return Member(name, kwargs, size)


# Quick enough for every run of the tests.
QUICK = {
    "beit": shrunk("beit_base_patch16_224", embed_dim=48, depth=3, num_heads=3),
    "byobnet": shrunk("test_byobnet"),
    "cait": shrunk("cait_xxs24_224", embed_dim=48, depth=3),
    "coat": shrunk("coat_tiny", embed_dims=[16, 24, 24, 24], parallel_depth=1),
    "convit": shrunk("convit_tiny", embed_dim=48, depth=3, local_up_to_layer=2),
    "convnext": shrunk("test_convnext"),
    "cspnet": shrunk("cs3darknet_focus_s"),
    "davit": shrunk("davit_tiny", embed_dims=[16, 32, 48, 64], depths=[1, 1, 2, 1], num_heads=[1, 2, 3, 4]),
    "deepseek_vit": shrunk("deepseek_vit_412m", 84, embed_dim=64, depth=3, num_heads=2),
    "deit": shrunk("deit_tiny_distilled_patch16_224", depth=3),
    "edgenext": shrunk("edgenext_xx_small"),
    "efficientnet": shrunk("test_efficientnet"),
    "efficientvit_mit": shrunk("efficientvit_b0"),
    "eva": shrunk("vit_tiny_patch16_dinov3_qkvb", depth=3),
    "fasternet": shrunk("fasternet_t0"),
    "gemma4_vit": shrunk(
        "gemma4_vit_167m", 96, embed_dim=64, depth=3, num_heads=2, head_dim=32, num_kv_heads=2, intermediate_size=64,
        position_embedding_size=128,
    ),
    "hiera": shrunk("hiera_tiny_224", embed_dim=16),
    "hieradet_sam2": shrunk("sam2_hiera_tiny", embed_dim=16),
    "lcnetv2": shrunk("lcnetv2_small"),
    "levit": shrunk("levit_128s"),
    "mambaout": shrunk("test_mambaout"),
    "maxxvit": shrunk("test_maxvit"),
    "metaformer": shrunk("poolformerv2_s12"),
    "mobilenetv3": shrunk("mobilenetv3_small_050"),
    "naflexvit": shrunk("naflexvit_so150m2_patch16_reg1_gap", embed_dim=48, depth=3, num_heads=3),
    "nfnet": shrunk("test_nfnet"),
    "pit": shrunk("pit_ti_224"),
    "pvt_v2": shrunk("pvt_v2_b0"),
    "qwen3_vit": shrunk("qwen3_vit_88m", embed_dim=48, depth=3, num_heads=2),
    "regnet": shrunk("regnetx_002"),
    "resnet": shrunk("test_resnet"),
    "sequencer": shrunk(
        "sequencer2d_s", 32, layers=[1, 1, 2, 1], embed_dims=[24, 48, 48, 48], hidden_sizes=[6, 12, 12, 12]
    ),
    "shvit": shrunk("shvit_s1"),
    "starnet": shrunk("starnet_s050"),
    "swin_transformer": shrunk("swin_tiny_patch4_window7_224", embed_dim=24),
    "swin_transformer_v2": shrunk("swinv2_tiny_window16_256", embed_dim=24),
    "swin_transformer_v2_cr": shrunk("swinv2_cr_tiny_224", embed_dim=24, num_heads=(1, 2, 4, 8)),
    "tnt": shrunk("tnt_s_legacy_patch16_224", depth=3, embed_dim=96),
    "vision_transformer": shrunk("test_vit"),
    "vision_transformer_hybrid": shrunk("vit_tiny_r_s16_p8_224", depth=3),
    "vision_transformer_relpos": shrunk("vit_relpos_small_patch16_rpn_224", embed_dim=48, depth=3, num_heads=3),
    "vision_transformer_sam": shrunk(
        "samvit_base_patch16_224", embed_dim=48, depth=4, num_heads=3, global_attn_indexes=(1, 3)
    ),
    "vovnet": shrunk("ese_vovnet19b_slim_dw"),
    "xcit": shrunk("xcit_nano_12_p8_224", depth=3),
}  # fmt: skip

# Larger, deeper, or with no argument that makes them small: only under the marker `slow`.
OTHERS = {
    "byoanet": shrunk("lambda_resnet26t"),
    "convmixer": shrunk("convmixer_768_32", 32),
    "cpubone": shrunk("cpubone_nano"),
    "crossvit": shrunk("crossvit_tiny_240", 240),
    "csatv2": shrunk("csatv2", dims=[16, 32, 48, 64]),
    "cspnext": shrunk("cspnext_tiny"),
    "densenet": shrunk("densenet121"),
    "dla": shrunk("dla46x_c"),
    "dpn": shrunk("dpn48b"),
    "efficientformer": shrunk("efficientformer_l1", 224),
    "efficientformer_v2": shrunk("efficientformerv2_s0"),
    "efficientvim": shrunk("efficientvim_m1"),
    "efficientvit_msra": shrunk("efficientvit_m0", 224),
    "fastvit": shrunk("fastvit_t8"),
    "focalnet": shrunk("focalnet_tiny_srf"),
    "gcvit": shrunk("gcvit_xxtiny"),
    "ghostnet": shrunk("ghostnet_050"),
    "hardcorenas": shrunk("hardcorenas_b"),
    "hgnet": shrunk("hgnetv2_b0"),
    "hrnet": shrunk("hrnet_w18_small"),
    "iformer": shrunk("iformer_t"),
    "inception_next": shrunk("inception_next_atto"),
    "inception_resnet_v2": shrunk("inception_resnet_v2", 96),
    "inception_v3": shrunk("inception_v3", 96),
    "inception_v4": shrunk("inception_v4", 96),
    "lowformer": shrunk("lowformer_b0"),
    "mlp_mixer": shrunk("mixer_s32_224"),
    "mobilenetv5": shrunk("mobilenetv5_base"),
    "mobilevit": shrunk("mobilevit_xxs"),
    "mvitv2": shrunk("mvitv2_tiny"),
    "nasnet": shrunk("nasnetalarge"),
    "nest": shrunk("nest_tiny"),
    "nextvit": shrunk("nextvit_small"),
    "pnasnet": shrunk("pnasnet5large", 96),
    "rdnet": shrunk("rdnet_tiny"),
    "repghost": shrunk("repghostnet_050"),
    "repvit": shrunk("repvit_m1"),
    "res2net": shrunk("res2next50"),
    "resnest": shrunk("resnest14d"),
    "resnetv2": shrunk("resnetv2_18"),
    "rexnet": shrunk("rexnet_100"),
    "selecsls": shrunk("selecsls42"),
    "senet": shrunk("legacy_seresnet18"),
    "sknet": shrunk("skresnet18"),
    "swiftformer": shrunk("swiftformer_xs"),
    "tiny_vit": shrunk("tiny_vit_5m_224"),
    "tresnet": shrunk("tresnet_m"),
    "twins": shrunk("twins_svt_small"),
    "vgg": shrunk("vgg11"),
    "visformer": shrunk("visformer_tiny"),
    "vitamin": shrunk("vitamin_small_224"),
    "volo": shrunk("volo_d1_224"),
    "xception": shrunk("legacy_xception", 96),
    "xception_aligned": shrunk("xception41p"),
}
