// Five bits a value.
{% set bits = 5 %}
{% include "shared/k_quant.wgsl" %}
