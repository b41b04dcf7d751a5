// Five bits a value.
{% set bits, offset = 5, "16.0" %}
{% include "shared/scale_32.wgsl" %}
