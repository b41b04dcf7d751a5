// Four bits a value.
{% set bits = 4 %}
{% include "shared/k_quant.wgsl" %}
