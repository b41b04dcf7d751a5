// Four bits a value.
{% set bits = 4 %}
{% include "shared/minimum_32.wgsl" %}
