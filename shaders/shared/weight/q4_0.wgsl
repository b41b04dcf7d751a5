// Four bits a value.
{% set bits, offset = 4, "8.0" %}
{% include "shared/scale_32.wgsl" %}
