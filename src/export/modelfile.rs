//! The Modelfile that Ollama makes a model from: <https://docs.ollama.com/modelfile>.
//!
//! Ollama's templates are Go's. A chat template is asked what it makes of a few chats, and where it puts fixed texts
//! around what is said, these become a template of Go that gives the same text.

use std::fmt::Write;

use super::gguf::adds;
use crate::data::example::Message;
use crate::data::tokenizer::Tokenizer;
use crate::model::Architecture;

pub(super) const NAME: &str = "Modelfile";

/// Of a merged model, which lies beside it.
pub(super) fn of_model(file: &str, tokenizer: &Tokenizer, architecture: &Architecture) -> String {
    let mut modelfile = format!("FROM ./{file}\n");
    write_chat(&mut modelfile, tokenizer, architecture);
    modelfile
}

/// Of an adapter, which lies beside it, for the model `base`.
pub(super) fn of_adapter(
    file: &str,
    base: &str,
    tokenizer: Option<&Tokenizer>,
    architecture: &Architecture,
) -> String {
    let mut modelfile = format!(
        "# The model that the adapter was trained on: a GGUF of it, its folder, or its name in Ollama.\nFROM {base}\nADAPTER \
         ./{file}\n"
    );
    if let Some(tokenizer) = tokenizer {
        write_chat(&mut modelfile, tokenizer, architecture);
    }
    modelfile
}

fn write_chat(modelfile: &mut String, tokenizer: &Tokenizer, architecture: &Architecture) {
    let turns = Turns::of(tokenizer);
    if let Some(template) = turns.as_ref().and_then(Turns::template) {
        let _ = writeln!(modelfile, "TEMPLATE \"\"\"{template}\"\"\"");
    }
    for stop in stops(tokenizer, architecture, turns.as_ref()) {
        let _ = writeln!(modelfile, "PARAMETER stop {}", serde_json::Value::from(stop));
    }
}

/// What ends an answer.
fn stops(tokenizer: &Tokenizer, architecture: &Architecture, turns: Option<&Turns>) -> Vec<String> {
    let mut stops: Vec<String> = tokenizer.eos_token().map(str::to_owned).into_iter().collect();
    let ids = architecture.eos_token_ids.iter();
    let ends = ids.filter_map(|&id| tokenizer.decode(&[id], false).ok());
    let turn = turns.map(|turns| turns.assistant[1].trim().to_owned());
    let is_special = |token: &String| tokenizer.token_to_id(token).is_some_and(|id| tokenizer.is_special(id));
    for stop in ends.chain(turn).filter(is_special) {
        if !stops.contains(&stop) {
            stops.push(stop);
        }
    }
    stops
}

/// The fixed texts before and behind what is said.
#[derive(Debug, PartialEq)]
struct Turns {
    /// Before the first turn, where nothing is said by the system.
    start: String,
    system: System,
    user: [String; 2],
    assistant: [String; 2],
    /// Before what the assistant is to say.
    opening: String,
}

#[derive(Debug, PartialEq)]
enum System {
    /// The template refuses it.
    None,
    /// A turn of its own, from the very start.
    Turn([String; 2]),
    /// In the user's first turn, with a text between.
    InUser(String),
}

const SYSTEM: &str = "Xsystem1";
const USER: &str = "Xuser2";
const ASSISTANT: &str = "Xassistant3";
const SECOND: &str = "Xuser4";

impl Turns {
    /// `None` where there is no template, or where it does something else than putting texts around what is said.
    fn of(tokenizer: &Tokenizer) -> Option<Self> {
        // What names the day would name that of the export for ever.
        let template = tokenizer.chat_template().ok().filter(|template| !template.names("strftime_now"))?;
        let render = |chat: &[(&str, &str)], opens: bool| {
            let messages: Vec<Message> = chat.iter().map(|(role, text)| Message::new(role, text)).collect();
            template.render(&messages, opens).ok().map(|rendered| rendered.text)
        };
        let (system, user) = (("system", SYSTEM), ("user", USER));
        let (assistant, second) = (("assistant", ASSISTANT), ("user", SECOND));
        // A template may close a chat in which nobody is to speak.
        let open = |chat: &[(&str, &str)]| {
            let (closed, opened) = (render(chat, false)?, render(chat, true)?);
            let rest = tokenizer.eos_token().and_then(|eos| closed.strip_suffix(eos));
            Some(match rest {
                Some(rest) if !opened.starts_with(&closed) => rest.to_owned(),
                _ => closed,
            })
        };
        let one = open(&[user])?;
        let three = open(&[user, assistant, second])?;
        let [before_first, behind_user] = around(&one, USER)?;
        let (before_assistant, rest) = three.strip_prefix(&one)?.split_once(ASSISTANT)?;
        let between = rest.strip_suffix(&behind_user)?.strip_suffix(SECOND)?;
        // Thoughts may be shown in the last turn alone, so that only what is behind it counts.
        let two = open(&[user, assistant])?;
        let (_, behind_assistant) = two.split_once(ASSISTANT)?;
        let before_user = between.strip_prefix(behind_assistant)?;
        let start = before_first.strip_suffix(before_user)?.to_owned();
        let users = [before_user.to_owned(), behind_user];
        let assistants = [before_assistant.to_owned(), behind_assistant.to_owned()];
        let turn = users.join(USER);
        let opening = render(&[user], true)?.strip_prefix(&one)?.to_owned();
        let told = open(&[system, user]).filter(|text| text.contains(SYSTEM));
        let system_part = match told {
            None => System::None,
            Some(text) => match text.strip_suffix(&turn).and_then(|text| around(text, SYSTEM)) {
                Some(around) => System::Turn(around),
                None => {
                    let before = [start.as_str(), &users[0], SYSTEM].concat();
                    let between = text.strip_prefix(&before)?.strip_suffix(&[USER, &users[1]].concat())?;
                    System::InUser(between.to_owned())
                }
            },
        };
        let mut turns = Turns { start, system: system_part, user: users, assistant: assistants, opening };
        let mut chats = vec![vec![user, assistant, second], vec![user]];
        if turns.system != System::None {
            chats.push(vec![system, user, assistant, second]);
        }
        let is_same =
            |chat: &Vec<(&str, &str)>| render(chat, true).is_some_and(|text| text == turns.text(chat));
        if !chats.iter().all(is_same) {
            return None;
        }
        turns.leave_out_bos(tokenizer);
        Some(turns)
    }

    /// Ollama lets the tokenizer put its BOS before a text, so the template must not have it again.
    fn leave_out_bos(&mut self, tokenizer: &Tokenizer) {
        let Some(bos) =
            tokenizer.special_token("bos_token").filter(|_| adds(tokenizer).is_ok_and(|[bos, _]| bos))
        else {
            return;
        };
        let mut starts = vec![&mut self.start];
        if let System::Turn([before, _]) = &mut self.system {
            starts.push(before);
        }
        for start in starts {
            if let Some(rest) = start.strip_prefix(bos) {
                *start = rest.to_owned();
            }
        }
    }

    /// The text of a chat with what opens an answer, as the template of Go gives it.
    fn text(&self, chat: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (index, (role, said)) in chat.iter().enumerate() {
            let [before, behind] = match (*role, &self.system) {
                ("system", System::Turn(around)) => around,
                ("system", _) => continue,
                ("user", _) => &self.user,
                _ => &self.assistant,
            };
            let is_behind_system = matches!((chat[0].0, &self.system), ("system", System::InUser(_)));
            if *role != "system" && index == usize::from(is_behind_system) {
                text += &self.start;
            }
            text += before;
            if let (1, "system", System::InUser(between)) = (index, chat[0].0, &self.system) {
                text += chat[0].1;
                text += between;
            }
            text += said;
            text += behind;
        }
        text + &self.opening
    }

    /// The template of Go; `None` where a text would end it or begin an action.
    fn template(&self) -> Option<String> {
        let Turns { start, system, user, assistant, opening } = self;
        let mut texts = vec![start, &user[0], &user[1], &assistant[0], &assistant[1], opening];
        match system {
            System::None => {}
            System::Turn(around) => texts.extend(around),
            System::InUser(between) => texts.push(between),
        }
        if texts.iter().any(|text| text.contains("{{") || text.contains("\"\"\"")) {
            return None;
        }
        let last = "(eq (len (slice $.Messages $i)) 1)";
        let (own_turn, in_user) = match system {
            System::None => (String::new(), String::new()),
            System::Turn([before, behind]) => (
                format!("{{{{ if eq .Role \"system\" }}}}{before}{{{{ .Content }}}}{behind}{{{{ end }}}}"),
                String::new(),
            ),
            System::InUser(between) => (
                String::new(),
                format!(
                    "{{{{ if and (eq $i 1) (eq (index $.Messages 0).Role \"system\") }}}}{{{{ (index $.Messages \
                     0).Content }}}}{between}{{{{ end }}}}"
                ),
            ),
        };
        let start = match (start.as_str(), system) {
            ("", _) => String::new(),
            (start, System::InUser(_) | System::None) => format!("{{{{ if eq $i 0 }}}}{start}{{{{ end }}}}"),
            (start, System::Turn(_)) => {
                format!("{{{{ if and (eq $i 0) (ne .Role \"system\") }}}}{start}{{{{ end }}}}")
            }
        };
        let [before_user, behind_user] = user;
        let [before_assistant, behind_assistant] = assistant;
        Some(format!(
            "{{{{ range $i, $_ := .Messages }}}}{start}{own_turn}{{{{ if eq .Role \"user\" \
             }}}}{before_user}{in_user}{{{{ .Content }}}}{behind_user}{{{{ else if eq .Role \"assistant\" \
             }}}}{before_assistant}{{{{ .Content }}}}{{{{ if not {last} }}}}{behind_assistant}{{{{ end }}}}{{{{ end \
             }}}}{{{{ if and (ne .Role \"assistant\") {last} }}}}{opening}{{{{ end }}}}{{{{ end }}}}"
        ))
    }
}

/// What stands before and behind `middle`, which must come once.
fn around(text: &str, middle: &str) -> Option<[String; 2]> {
    let (before, behind) = text.split_once(middle)?;
    (!behind.contains(middle)).then(|| [before.to_owned(), behind.to_owned()])
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::files::Directory;

    fn turns(folder: &str) -> Option<Turns> {
        let files = Directory(format!("tests/fixtures/tokens/{folder}").into());
        Turns::of(&block_on(Tokenizer::load(&files)).expect("the fixture has a tokenizer"))
    }

    #[test]
    fn templates_that_put_texts_around_what_is_said_are_recognised() {
        for folder in ["chatml", "zephyr", "llama3", "phi3", "phi4", "gemma3", "thoughts"] {
            let turns = turns(folder).unwrap_or_else(|| panic!("{folder}"));
            assert!(turns.template().is_some(), "{folder}");
        }
        let chatml = turns("chatml").unwrap();
        assert_eq!(chatml.start, "<|im_start|>system\nYou are a small model.<|im_end|>\n");
        assert_eq!(chatml.user, ["<|im_start|>user\n", "<|im_end|>\n"]);
        let gemma = turns("gemma3").unwrap();
        assert_eq!(gemma.system, System::InUser("\n\n".to_owned()));
        // The tokenizer puts `<bos>` before it.
        assert_eq!(gemma.start, "");
    }

    #[test]
    fn templates_that_name_the_day_or_do_more_are_not() {
        for folder in ["granite", "smollm3", "mistral3", "closing", "moved"] {
            assert_eq!(turns(folder), None, "{folder}");
        }
    }
}
