//! Jinja that minijinja reads otherwise, in words that it reads alike.
//!
//! - `{% generation %}…{% endgeneration %}`, an extension of transformers, writes a mark before and behind what
//!   is inside, and keeps the variables that are set there, as the macro does that transformers makes of it.
//! - `{% set name.field = … %}` reads `name` first: minijinja hands a macro the variables that it reads, but
//!   not those whose fields it sets. The filter `kept` looks at what is set.

/// What a piece of a template is.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    /// `{% … %}`
    Tag,
    /// Text, comments, and expressions to print.
    Other,
}

/// Rewrites `source`, and tells how many generation blocks it has.
pub fn rewrite(source: &str) -> (String, usize) {
    let mut rewritten = String::with_capacity(source.len());
    let mut blocks = 0;
    let mut is_raw = false;
    for (piece, text) in pieces(source) {
        let inside = text.trim_start_matches("{%").trim_end_matches("%}");
        let bare = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        if piece == Piece::Tag && (bare == "raw" || bare == "endraw") {
            is_raw = bare == "raw";
        }
        if piece == Piece::Other || is_raw {
            rewritten.push_str(text);
            continue;
        }
        // The first of the new tags takes the white space control of the left, the last that of the right.
        let left = &inside[..inside.len() - inside.trim_start_matches(['-', '+']).len()];
        let right = &inside[inside.trim_end_matches(['-', '+']).len()..];
        match bare {
            "generation" => {
                blocks += 1;
                let tags = format!("{{%{left} with %}}{{{{ generation(0) }}}}{{% if true {right}%}}");
                rewritten.push_str(&tags);
            }
            "endgeneration" => {
                let tags = format!("{{%{left} endif %}}{{{{ generation(1) }}}}{{% endwith {right}%}}");
                rewritten.push_str(&tags);
            }
            _ => match namespace_of(bare) {
                Some(name) => {
                    let set = match bare.split_once('=') {
                        Some((target, value)) => format!("{target}= ({value}) | kept"),
                        None => bare.to_owned(),
                    };
                    rewritten.push_str(&format!("{{%{left} if {name} %}}{{% endif %}}{{% {set} {right}%}}"));
                }
                None => rewritten.push_str(text),
            },
        }
    }
    (rewritten, blocks)
}

/// The variable whose field a tag sets.
fn namespace_of(tag: &str) -> Option<&str> {
    let target = tag.strip_prefix("set")?.strip_prefix([' ', '\t', '\n'])?.trim_start();
    let name = target.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    target[name.len()..].trim_start().starts_with('.').then_some(name)
}

/// The template in pieces, which together are the whole.
fn pieces(source: &str) -> Vec<(Piece, &str)> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let kind = rest.get(..2).unwrap_or_default();
        let (piece, length) = match kind {
            "{#" => (Piece::Other, rest.find("#}").map(|end| end + 2)),
            "{%" => (Piece::Tag, end_of_code(rest, "%}")),
            "{{" => (Piece::Other, end_of_code(rest, "}}")),
            _ => (Piece::Other, rest.char_indices().skip(1).find(|(_, c)| *c == '{').map(|(at, _)| at)),
        };
        // What is not closed is for the compiler to refuse.
        let (text, after) = rest.split_at(length.unwrap_or(rest.len()));
        pieces.push((if length.is_some() { piece } else { Piece::Other }, text));
        rest = after;
    }
    pieces
}

/// The length of code that ends with `close`, outside of its strings.
fn end_of_code(code: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, character) in code.char_indices().skip(2) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if character == '\\' => is_escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if code[at..].starts_with(close) => return Some(at + close.len()),
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        let (source, blocks) = rewrite("a{%- generation +%}b{%endgeneration-%}{% if x %}{% endif %}{%");
        assert_eq!(
            source,
            "a{%- with %}{{ generation(0) }}{% if true +%}b{% endif %}{{ generation(1) }}{% endwith -%}\
             {% if x %}{% endif %}{%"
        );
        assert_eq!(blocks, 1);
    }

    #[test]
    fn what_is_no_tag_stays() {
        for source in [
            "{# {% generation %} #}",
            "{{ '{% generation %}' }}",
            "{% set x = '{% generation %}' ~ \"\\\"%}\" %}",
            "{% raw %}{% generation %}{% set a.b = 1 %}{% endraw %}",
            "{% set a = b.c %}{% settle %}{ {% if a %}",
        ] {
            assert_eq!(rewrite(source), (source.to_owned(), 0));
        }
        let (source, _) = rewrite("{%- set ns.x = ns.x + 1 -%}");
        assert_eq!(source, "{%- if ns %}{% endif %}{% set ns.x = ( ns.x + 1) | kept -%}");
        assert_eq!(rewrite("{% set ns.x %}").0, "{% if ns %}{% endif %}{% set ns.x %}");
    }
}
