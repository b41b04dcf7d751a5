// What `tile` stands for, as numbers for the other files here.
//
// direct: 8 rows × 8 columns, a tile of its own, straight from storage; works everywhere, for adapters that compute on
//   the CPU and have no subgroups of a known size.
// subgroup4, subgroup8: a workgroup is one subgroup and owns 32 rows; each invocation has 8 columns
//   of them, loads its share of the rows and gets the others' from its neighbours. For CPU adapters, where a
//   load costs as much as many multiplications and every invocation of a subgroup one SIMD lane.
// shared32, shared64, shared128: as many invocations own so many rows × 64 columns, staged 16 deep in
//   workgroup memory; an invocation has 8 columns of every 4th, 8th or 16th row, so that neighbours read
//   from different banks. For GPUs.
// half64, half128: the same with the weight staged as f16, which halves what is read of it and lets
//   half64 stage 32 deep. For GPUs that have f16.
// cooperative8, cooperative16: 128 invocations own 64 × 64 and multiply by cooperative matrices of so
//   many rows and columns; they finish 4 × 8 each. For subgroups of 8 and 32, outside browsers.

{# Invocations of a subgroup that share their rows, or 0. #}
{% set lanes = {"subgroup4": 4, "subgroup8": 8}[tile] | default(0) %}
{# Rows and columns of a cooperative matrix, or 0, and the invocations of the subgroup that owns one. #}
{% set side = {"cooperative8": 8, "cooperative16": 16}[tile] | default(0) %}
{% set subgroup_size = 8 if side == 8 else 32 %}
{# Rows staged together in workgroup memory, or 0, values of the inner dimension that are, and whether as f16. #}
{% set height = {"shared32": 32, "shared64": 64, "half64": 64, "shared128": 128, "half128": 128}[tile] | default(64 if side else 0) %}
{% set stage = 32 if tile == "half64" else 16 %}
{% set is_half = side or tile in ["half64", "half128"] %}
{# Rows of an invocation's block, the step between them, and how many it finishes at a time. #}
{% set rows = 32 if lanes else 4 if side else 8 %}
{% set step = height // 8 if height and not side else 1 %}
{% set in_memory = tile == "subgroup4" %}
{% set last = lanes if in_memory else rows %}
{# Invocations of a workgroup. #}
{% set size = 128 if side else lanes if lanes else height if height else 16 %}
{# How NF4 codes are decoded: shared/weight.wgsl. #}
{% set decode = {"direct": "tree", "subgroup4": "pairs", "subgroup8": "lanes"}[tile] | default("memory") %}
