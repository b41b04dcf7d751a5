// Five bits a value.
{% set bits = 5 %}
{% include "shared/minimum_32.wgsl" %}
