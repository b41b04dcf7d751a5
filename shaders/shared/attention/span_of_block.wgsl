// begin..end, the keys that any of the `height` rows from `block` on sees. The including shader sets `height`.
var begin = 0xffffffffu;
var end = 0u;
for (var row = block; row < min(block + {{ height }}u, params.rows); row++) {
    let span = spans[row];
    if (span.x < span.y) {
        begin = min(begin, span.x);
        end = max(end, span.y);
    }
}
