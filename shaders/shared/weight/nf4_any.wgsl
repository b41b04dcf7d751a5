// NF4 whose blocks run on from row to row.
{% include "shared/weight/nf4.wgsl" %}
