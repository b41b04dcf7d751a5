// FP4 whose blocks run on from row to row.
{% include "shared/weight/fp4.wgsl" %}
