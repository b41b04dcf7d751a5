// The spans of the eight rows from `block` on, by components: starts_a and stops_a of rows 0 to 3, starts_b and stops_b
// of rows 4 to 7; and begin..end, the keys that any of them sees.
let last = params.rows - 1u;
var begin = 0xffffffffu;
var end = 0u;
{% for i in range(8) %}
let row{{ i }} = min(block + {{ i }}u, last);
let span{{ i }} = select(vec2<u32>(), spans[row{{ i }}], block + {{ i }}u <= last);
if span{{ i }}.x < span{{ i }}.y {
    begin = min(begin, span{{ i }}.x);
    end = max(end, span{{ i }}.y);
}
{% endfor %}
{% for part, r in [("a", 0), ("b", 4)] %}
let starts_{{ part }} = vec4<u32>(span{{ r }}.x, span{{ r + 1 }}.x, span{{ r + 2 }}.x, span{{ r + 3 }}.x);
let stops_{{ part }} = vec4<u32>(span{{ r }}.y, span{{ r + 1 }}.y, span{{ r + 2 }}.y, span{{ r + 3 }}.y);
{% endfor %}
