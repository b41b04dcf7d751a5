// Which of the stacked layers has `column`, set by the including shader, and where that layer begins.
var section = 0u;
var section_start = 0u;
if {{ column }} >= params.section_end.x { section = 1u; section_start = params.section_end.x; }
if {{ column }} >= params.section_end.y { section = 2u; section_start = params.section_end.y; }
