//! Settings at the start of a Markdown file, which are no prose.

/// Lines after which settings would have ended.
const LONGEST: usize = 1000;

/// The first lines of a file, as long as they may be front matter: YAML between two lines of `---`, or TOML
/// between two of `+++`, as Jekyll, Obsidian and Hugo have it. A thematic break looks the same, but no line that
/// sets something follows it.
#[derive(Default)]
pub struct FrontMatter {
    lines: Vec<String>,
    is_prose: bool,
    is_closed: bool,
}

impl FrontMatter {
    pub fn push(&mut self, line: String) {
        let trimmed = line.trim_end();
        match (self.lines.len(), self.lines.first().map(String::as_str)) {
            (0, _) => self.is_prose = !matches!(trimmed, "---" | "+++"),
            (_, Some(opening)) if trimmed == opening.trim_end() => self.is_closed = true,
            (_, Some(opening)) if trimmed == "..." && opening.starts_with('-') => self.is_closed = true,
            (1, Some(opening)) => self.is_prose = !sets_something(trimmed, opening.starts_with('-')),
            (count, _) => self.is_prose = count > LONGEST,
        }
        self.lines.push(line);
    }

    /// Once it is known where prose begins, the lines so far that belong to it: all or none. `is_end` says that
    /// no line follows.
    pub fn prose(&mut self, is_end: bool) -> Option<Vec<String>> {
        if self.is_closed {
            return Some(Vec::new());
        }
        (self.is_prose || is_end).then(|| std::mem::take(&mut self.lines))
    }
}

/// Whether a line is a comment or gives a value to a name.
fn sets_something(line: &str, is_yaml: bool) -> bool {
    let is_name = |name: &str| {
        let name = name.trim().trim_matches('"');
        !name.is_empty()
            && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | ' '))
    };
    let name = if is_yaml {
        line.split_once(':')
            .filter(|(_, value)| value.is_empty() || value.starts_with(' '))
            .map(|(name, _)| name)
    } else {
        line.split_once('=').map(|(name, _)| name).or(line.strip_prefix('['))
    };
    line.starts_with('#') || name.is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the lines of prose among the first ones.
    fn prose(text: &str) -> Option<usize> {
        let mut front = FrontMatter::default();
        for line in text.lines() {
            front.push(line.to_owned());
            if let Some(lines) = front.prose(false) {
                return Some(lines.len());
            }
        }
        None
    }

    #[test]
    fn settings_are_told_from_a_break() {
        for text in [
            "---\ntags: [library]\naliases:\n  - opening\n\n---",
            "---  \ntitle: \"a: b\"\n...",
            "---\n# note\na: b\n---",
            "+++\ntitle = \"a\"\n+++",
            "---\n---",
        ] {
            assert_eq!(prose(text), Some(0), "{text:?}");
        }
        for (text, lines) in [
            ("# Title", 1),
            ("", 1),
            (" ---\na: b\n---", 1),
            ("---\nProse.\n---", 2),
            ("---\n\na: b\n---", 2),
        ] {
            assert_eq!(prose(if text.is_empty() { "\n" } else { text }), Some(lines), "{text:?}");
        }
        assert_eq!(prose("---\na: b"), None);
        assert_eq!(prose(&format!("---\n{}", "a: b\n".repeat(LONGEST + 9))), Some(LONGEST + 2));
    }
}
