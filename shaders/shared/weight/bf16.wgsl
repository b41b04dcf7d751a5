// As f16, but for how a value is widened.
{% include "shared/weight/f16.wgsl" %}
