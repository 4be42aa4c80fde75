"""What timm may be told about a network: its shape, and nothing else.

The names are those that timm's networks take for sizes, counts, kinds of layers and drop rates.
None names weights, a file, an address, a device or classes (`pretrained`, `pretrained_cfg`,
`checkpoint_path`, `cache_dir`, `num_classes` …), and timm is given no name that is not here.
"""

from collections.abc import Mapping
from typing import Any

from graft.choices import LARGEST_SIDE
from graft.runs.reading import shown

# How often something is repeated: a network is built block by block to learn its shapes.
_REPEATS = (
    "depth depths depth_list layers num_blocks num_blocks_list serial_depths transformer_depths "
    "parallel_depth cls_attn_layers num_levels num_rnn_layers block_config cfgs levels stages "
    "heads num_heads num_kv_heads global_block_counts"
)
REPEATS = frozenset(_REPEATS.split())
_OTHERS = (
    "aa_layer aa_stem_only abs_win_pos_embed act_layer always_partition attn_drop_rate "
    "attn_head_dim_reduction attn_layer attn_mlp attn_mlp_ratio attn_only_layer_scale "
    "attn_pool_mlp_ratio attn_pool_num_heads attn_ratio attn_stage attn_type attn_types "
    "attn_upsample aux_logits avg_down base_dim base_dims base_width bidirectional block_layers "
    "block_reduce_first block_type bn_eps bn_momentum bn_size bottle_ratio cardinality "
    "channel_multiplier channels class_token cls_ratio conv_bias conv_init conv_mlp conv_ratio "
    "crop_scale deepen_factor depth_mult dim dim_mul dims distilled down_kernel_size down_stride "
    "downsample_expand_ratios downsample_norm downsample_ratio downsamples drop drop_block_rate "
    "drop_block_size drop_path_rate drop_rate dropout dw_act_layer dynamic_img_pad "
    "dynamic_img_size embed_dim embed_dims embed_norm expand_ratio expansion_ratio "
    "extra_norm_period extra_norm_stage fc_norm feature_dim ffn_ratio final_chs final_norm "
    "first_stride fix_init fix_stem focal_levels focal_windows fused_conv global_att_blocks "
    "global_attn_indexes global_pool global_pos_size group group_size groups growth_rate "
    "growth_rates head_bias head_dim head_hidden_size head_init_scale head_mul head_norm "
    "head_norm_first head_widths hidden_size hidden_sizes img_scale img_size init_channels "
    "init_values initial_chs inner_dim inplanes input_3x3 intermediate_size kernel_size "
    "kernel_sizes kernels key_dim layer_scale layer_scale_init_value layer_scale_init_values "
    "layerscale_value legacy local_conv_size locality_strength ls_init_value mask_unit_attn "
    "mask_unit_size mbconv_expand_ratio merge_size mix_block_ratio mlp_act mlp_bias mlp_ratio "
    "mlp_ratios multi_conv neck_chans no_embed_class norm_eps norm_layer norm_layers "
    "normalize_modulator num_features num_init_features num_reg_tokens output_norm output_stride "
    "pad_type partial_dim patch_drop_rate patch_norm patch_padding patch_size patch_sizes "
    "patch_stride pool_include_prefix pool_size pool_type pos_drop_rate pos_embed "
    "pos_embed_grid_size pre_norm preact pretrained_window_sizes proj_bias proj_drop_rate q_pool "
    "q_stride qk_dim qk_norm qkv_bias qkv_fused reduction ref_feat_shape reg_tokens rel_pos_dim "
    "rel_pos_type replace_stem_pool rope_grid_indexing rope_grid_offset rope_rotate_half "
    "rope_temperature rope_theta rope_type round_chs scale_attn_inner scale_attn_norm scale_mlp "
    "scale_mlp_norm se_downsamples se_from_exp se_layer se_ratio sep_pos_embed shared_rel_pos "
    "shortcut_root small_kernels spatial_conv sr_ratios standardize state_dim stem_bias stem_chs "
    "stem_expand_ratio stem_hidden_dim stem_kernel_size stem_norm stem_size stem_stride stem_type "
    "stem_width strict_img_size strides swiglu_align_to swiglu_mlp token_mixers tokens_norm "
    "transition_compression_ratio use_abs_pos use_abs_pos_emb use_conv use_fc_norm use_grn use_lab "
    "use_layer_scale use_overlap_down use_pos_emb use_pos_embed use_post_norm use_rel_pos "
    "use_rel_pos_bias use_rope use_rot_pos_emb use_shared_rel_pos_bias vit_stem weight_init "
    "widen_factor width width_factor width_list width_mult widths window_ratio window_size "
    "window_sizes with_fc zero_init_last"
)
# The last is for graft itself: see new_body.
OTHERS = frozenset([*_OTHERS.split(), "embedding"])
MOST_REPEATS, LARGEST, LONGEST = 512, 16_384, 64


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError, which names the first at fault, unless timm may be given these: numbers up
    to LARGEST, short words of letters and digits, true, false, null, and lists of such.
    """
    for name, value in arguments.items():
        if name == "in_chans" and value == 3:
            continue
        if name not in REPEATS | OTHERS:
            raise ValueError(f"{shown(name)} is no argument that graft passes to timm")
        if isinstance(value, list) and len(value) > LONGEST:
            raise ValueError(f"{name}: a list of {len(value):,}, expected {LONGEST} at most")
        most = LARGEST_SIDE if name == "img_size" else MOST_REPEATS if name in REPEATS else LARGEST
        for each in value if isinstance(value, list) else [value]:
            _check_value(name, each, most)


def _check_value(name: str, value: object, most: int) -> None:
    if isinstance(value, list):  # as (height, width) in each stage
        for each in value[: LONGEST + 1]:
            if not isinstance(each, int | float) or not abs(each) <= most:
                raise ValueError(f"{name}: a list in a list may hold numbers up to {most:,}")
        if len(value) > LONGEST:
            raise ValueError(f"{name}: a list of {len(value):,}, expected {LONGEST} at most")
    elif isinstance(value, str):
        if len(value) > 40 or not all(c.isalnum() or c == "_" for c in value):
            raise ValueError(f"{name}: {shown(value, 40)!r} is no short word")
    elif isinstance(value, int | float):
        if not abs(value) <= most:  # NaN is not
            raise ValueError(f"{name}: expected a number up to {most:,}")
    elif value is not None:
        raise ValueError(f"{name}: expected a number, a word or a list, not an object")
