//! Where the turns of a chat lie in the text that its template makes of it.
//!
//! A template is a program: it trims, moves and leaves out, and what it makes of a chat's beginning need not be
//! the beginning of what it makes of the whole. So the chat is rendered once more with marks around each
//! content, characters that no text of it has. Where the text without them is the plain one, they tell the
//! places. What comes before and behind a content is told from chats that end there:
//!
//! - The header of a turn is what the generation prompt adds, up to the opening of thoughts.
//! - The end of a turn is what the template writes behind the content of a chat that ends with it.

use std::ops::Range;

use super::ChatTemplate;
use super::marks::Marks;
use crate::bail;
use crate::data::example::Message;
use crate::error::Result;

/// How a generation prompt may open the thoughts, which are the model's own words already.
const THOUGHTS: [&str; 5] = ["<think>", "<thinking>", "[THINK]", "<|channel>thought", "<seed:think>"];

/// Marks around contents, one behind and one before.
#[derive(Clone, Copy, PartialEq)]
struct Marking {
    /// Of all messages, or of the assistant's alone.
    all: bool,
    before: bool,
    behind: bool,
}

/// The ways to mark a chat, the most telling first: a template may look at how a content begins or ends.
const MARKINGS: [Marking; 6] = [
    Marking { all: true, before: true, behind: true },
    Marking { all: true, before: false, behind: true },
    Marking { all: false, before: true, behind: true },
    Marking { all: false, before: false, behind: true },
    Marking { all: true, before: true, behind: false },
    Marking { all: false, before: true, behind: false },
];

/// What a template writes between a content and the assistant's words that follow.
#[derive(Clone, Debug, PartialEq)]
struct Opening {
    /// The end of the turn before.
    end: String,
    /// The header of the assistant's turn, without the opening of thoughts.
    header: String,
}

impl Opening {
    fn len(&self) -> usize {
        self.end.len() + self.header.len()
    }
}

/// A chat and its text, with what is known of its places.
pub struct Turns<'a> {
    template: &'a ChatTemplate,
    messages: &'a [Message],
    /// The chat as its template renders it.
    whole: &'a str,
    marks: Marks,
    /// How the chat could be marked, unless every way changed the text.
    marking: Option<Marking>,
    /// Marks with their places in `whole`.
    places: Vec<(usize, usize)>,
    /// The last opening that was found, and the role of the message before it.
    opening: Option<(String, Opening)>,
    /// The last end of a turn that was found.
    end: Option<String>,
}

impl<'a> Turns<'a> {
    /// Marks `messages`, of which `template` makes `whole`.
    pub fn new(template: &'a ChatTemplate, messages: &'a [Message], whole: &'a str) -> Result<Self> {
        let marks = template.marks(messages, 2 * messages.len() + 2)?;
        let mut turns = Turns {
            template,
            messages,
            whole,
            marks,
            marking: None,
            places: Vec::new(),
            opening: None,
            end: None,
        };
        for marking in MARKINGS {
            let Ok(rendered) = template.render(&turns.marked(marking), false) else { continue };
            let (text, places) = marks.take_out(&rendered.text);
            if text == whole {
                (turns.marking, turns.places) = (Some(marking), places);
                break;
            }
        }
        Ok(turns)
    }

    /// The assistant's turns, each with the number of its message, in bytes of the text: what the model itself
    /// would write after the generation prompt, thoughts and end mark included.
    ///
    /// A turn that the template leaves out is not among them. A chat whose turns cannot be told apart is an
    /// error of code `bad-data`.
    pub fn of_assistant(&mut self) -> Result<Vec<(usize, Range<usize>)>> {
        let mut turns = Vec::new();
        let mut floor = 0;
        for index in 0..self.messages.len() {
            if self.messages[index].role() != "assistant" {
                continue;
            }
            match self.turn(index, floor) {
                Some(turn) => {
                    floor = turn.end;
                    turns.push((index, turn));
                }
                None if self.marking.is_some() => {}
                None => bail!(
                    BadData,
                    "the chat template changes what it writes with what messages[{index}] says, so that the turn \
                     cannot be found: to learn some turns and not others, this template needs {{% generation %}} \
                     blocks"
                ),
            }
        }
        Ok(turns)
    }

    /// The content of a message where the template writes it as it is, in bytes of the text.
    pub fn content(&self, index: usize) -> Option<Range<usize>> {
        let start = self.before(index, 0)?;
        Some(start..self.behind(index, start)?)
    }

    /// The assistant's turn of message `index`, which begins at `floor` at the earliest.
    fn turn(&mut self, index: usize, floor: usize) -> Option<Range<usize>> {
        let content = self.before(index, floor);
        let mut behind = self.behind(index, content.unwrap_or(floor));
        let core = self.messages[index].content().trim();
        if behind.is_none() {
            behind = content.map(|start| start + shared(core, &self.whole[start..]));
        }
        let Some(behind) = behind else { return self.unmarked_turn(index, floor) };
        let start = match self.start(index, floor, content, behind) {
            Some(start) => start,
            // Without a header the turn is its content, as far as it stands there, and a space that the template
            // puts before it.
            None => {
                let content =
                    content.unwrap_or_else(|| behind - shared_end(core, &self.whole[floor..behind]));
                floor + self.whole[floor..content].trim_end_matches(' ').len()
            }
        };
        Some(start..behind + self.end_at(index, behind))
    }

    /// Where the turn of message `index` begins, whose content ends at `behind`, and begins at `content` where
    /// that is known.
    fn start(&mut self, index: usize, floor: usize, content: Option<usize>, behind: usize) -> Option<usize> {
        let latest = content.unwrap_or(behind);
        let before = index.checked_sub(1).and_then(|before| self.behind(before, floor));
        let before = before.filter(|&before| before <= latest);
        if let Some(start) = before.and_then(|before| self.opened_at(index, before, latest)) {
            return Some(start + self.usual_header(index, start, latest));
        }
        let header = self.opening(index)?.header;
        if header.is_empty() {
            return None;
        }
        let from = before.unwrap_or(floor);
        let space = &self.whole[from..latest];
        // What was said before may hold a header too, but not what lies behind it.
        let found =
            if before.is_some() || content.is_none() { space.find(&header) } else { space.rfind(&header) };
        found.map(|at| from + at + header.len())
    }

    /// The length of the header at `start` that the template has for answers to users, where it opens this turn
    /// without one: after a tool's answer a model may go on in its own turn, though the template writes another.
    fn usual_header(&self, index: usize, start: usize, latest: usize) -> usize {
        if self.messages[index - 1].role() == "user" {
            return 0;
        }
        let usual =
            self.opening_of(&[Message::new("user", "?")]).map(|opening| opening.header).unwrap_or_default();
        if self.whole[start..latest].starts_with(&usual) { usual.len() } else { 0 }
    }

    /// Where the assistant's words begin behind a content that ends at `before`, if what the template writes
    /// there is what it writes in a chat that ends there.
    fn opened_at(&mut self, index: usize, before: usize, latest: usize) -> Option<usize> {
        let rest = &self.whole[before..latest];
        let is_there = |opening: &Opening| {
            let rest = rest.strip_prefix(opening.end.as_str())?;
            rest.starts_with(opening.header.as_str()).then(|| before + opening.len())
        };
        let role = self.messages[index - 1].role();
        if let Some((known, opening)) = &self.opening
            && known == role
            && let Some(start) = is_there(opening)
        {
            return Some(start);
        }
        let opening = self.opening_of(&self.messages[..index])?;
        let mut start = is_there(&opening);
        if start.is_none() && !opening.header.is_empty() {
            // A prompt may go on with what this turn does not begin with.
            let written = format!("{}{}", opening.end, opening.header);
            let same = whole_tags(&written[..shared(&written, rest)]).len();
            start = (same > opening.end.len()).then_some(before + same);
        }
        self.opening = Some((role.to_owned(), opening));
        start
    }

    /// The opening of the assistant's turn `index`, or where its chat cannot end before that, of any.
    fn opening(&mut self, index: usize) -> Option<Opening> {
        let own = self.opening_of(&self.messages[..index]);
        own.or_else(|| self.opening_of(&[Message::new("user", "?")]))
    }

    /// What the template writes behind the last of `messages` before the assistant is to speak.
    fn opening_of(&self, messages: &[Message]) -> Option<Opening> {
        let last = messages.len().checked_sub(1)?;
        let prompt = self.tail(messages, last, true)?;
        let plain = self.tail(messages, last, false)?;
        let end = whole_tags(&prompt[..shared(&prompt, &plain)]);
        let header = &prompt[end.len()..];
        let thoughts = THOUGHTS.iter().filter_map(|opening| header.find(opening)).min();
        let header = &header[..thoughts.unwrap_or(header.len())];
        Some(Opening { end: end.to_owned(), header: header.to_owned() })
    }

    /// The length of what ends the turn of message `index` behind its content, which ends at `behind`.
    fn end_at(&mut self, index: usize, behind: usize) -> usize {
        let rest = &self.whole[behind..];
        if let Some(end) = self.end.as_ref().filter(|end| !end.is_empty() && rest.starts_with(end.as_str())) {
            return end.len();
        }
        let own = self.tail(&self.messages[..=index], index, false);
        if let Some(own) = own.as_ref().filter(|own| rest.starts_with(own.as_str())) {
            self.end = Some(own.clone());
            return own.len();
        }
        // A template may close the last turn in a way of its own; then others end as those of users do.
        let others = self.opening(index).map(|opening| opening.end).unwrap_or_default();
        if !others.is_empty() && rest.starts_with(&others) {
            return others.len();
        }
        own.map_or(0, |own| whole_tags(&own[..shared(&own, rest)]).len())
    }

    /// A turn whose content cannot be marked, as it is empty or the template writes none of it.
    fn unmarked_turn(&mut self, index: usize, floor: usize) -> Option<Range<usize>> {
        self.appended_turn(index, floor).or_else(|| {
            let message = &self.messages[index];
            let opening = self.opening(index)?;
            let before = index.checked_sub(1).and_then(|before| self.behind(before, floor));
            // A template may write a later message first, so only what lies behind this turn's start ends it.
            let from = before.unwrap_or(floor);
            let limit = self.places.iter().filter(|(mark, place)| mark / 2 > index && *place >= from);
            let limit = limit.map(|(_, place)| *place).min().unwrap_or(self.whole.len());
            let start = match before {
                Some(before) => self.opened_at(index, before, limit)?,
                None if opening.header.is_empty() => return None,
                None => floor + self.whole[floor..limit].find(&opening.header)? + opening.header.len(),
            };
            let core = message.content().trim();
            if !core.is_empty() && self.marking.is_none() {
                let behind = start + self.whole[start..limit].find(core)? + core.len();
                return Some(start..behind + self.end_at(index, behind));
            }
            if !core.is_empty() {
                return None;
            }
            let own = self.tail(&self.messages[..=index], index, false);
            let ends = own.into_iter().chain([opening.end]).filter(|end| !end.is_empty());
            let mut found = ends.filter_map(|end| Some(self.whole[start..limit].find(&end)? + end.len()));
            found.next().map(|length| start..start + length)
        })
    }

    /// A turn of a chat to which the template only appends: from what it writes before to what it writes with it.
    fn appended_turn(&self, index: usize, floor: usize) -> Option<Range<usize>> {
        let length = |messages: &[Message], add_generation_prompt| {
            let text = self.template.render(messages, add_generation_prompt).ok()?.text;
            self.whole.starts_with(&text).then_some(text.len())
        };
        let start = length(&self.messages[..index], true).filter(|_| index > 0)?;
        let end = length(&self.messages[..=index], false)?;
        (floor <= start && start < end).then_some(start..end)
    }

    /// What the template writes behind the content of `messages[last]`, their last one. None where it writes the
    /// content of another message there.
    fn tail(&self, messages: &[Message], last: usize, add_generation_prompt: bool) -> Option<String> {
        let render = |marks: &dyn Fn(usize) -> bool| {
            let text = |(index, message): (usize, &Message)| match marks(index) {
                true => message.with("content", self.with_mark_behind(index, message.content()).into()),
                false => message.clone(),
            };
            let messages: Vec<Message> = messages.iter().enumerate().map(text).collect();
            let text = self.template.render(&messages, add_generation_prompt).ok()?.text;
            let (_, tail) = text.rsplit_once(self.marks.get(2 * last + 1))?;
            Some(tail.to_owned())
        };
        let tail = render(&|index| index == last)?;
        let said = messages[..last].iter().map(|message| message.content().trim());
        if said.filter(|said| !said.is_empty()).any(|said| tail.contains(said)) {
            // It may be said by chance, such as "end". Marks on all contents tell.
            let marked = render(&|_| true)?;
            return (self.marks.take_out(&marked).1.is_empty()).then_some(tail);
        }
        Some(tail)
    }

    /// `content` with the mark of message `index` at its end, before the white space that a template may trim.
    fn with_mark_behind(&self, index: usize, content: &str) -> String {
        let core = content.trim_end();
        format!("{core}{}{}", self.marks.get(2 * index + 1), &content[core.len()..])
    }

    /// The place of the mark before the content of a message, from `floor` on.
    fn before(&self, index: usize, floor: usize) -> Option<usize> {
        self.place(2 * index, floor)
    }

    /// The place of the mark behind it.
    fn behind(&self, index: usize, floor: usize) -> Option<usize> {
        self.place(2 * index + 1, floor)
    }

    fn place(&self, mark: usize, floor: usize) -> Option<usize> {
        self.places.iter().find(|(found, place)| *found == mark && *place >= floor).map(|(_, place)| *place)
    }

    /// The messages with marks at the edges of their contents, within the white space that a template may trim.
    fn marked(&self, marking: Marking) -> Vec<Message> {
        let marked = |(index, message): (usize, &Message)| {
            let content = message.content();
            let core = content.trim();
            if core.is_empty() || !(marking.all || message.role() == "assistant") {
                return message.clone();
            }
            let (start, end) = (content.len() - content.trim_start().len(), content.trim_end().len());
            let mut text = content[..start].to_owned();
            text.extend(marking.before.then(|| self.marks.get(2 * index)));
            text.push_str(core);
            text.extend(marking.behind.then(|| self.marks.get(2 * index + 1)));
            text.push_str(&content[end..]);
            message.with("content", text.into())
        };
        self.messages.iter().enumerate().map(marked).collect()
    }
}

/// The length of the beginning that two texts share.
fn shared(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// The length of the end that two texts share.
fn shared_end(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// `text` without a tag at its end that is not closed, such as `<|` where two texts share the beginning of
/// different tags.
fn whole_tags(text: &str) -> &str {
    let mut whole = text;
    for (open, close) in [('<', '>'), ('[', ']')] {
        if let Some(at) = whole.rfind(open).filter(|&at| !whole[at..].contains(close)) {
            whole = &whole[..at];
        }
    }
    whole
}
